"""`unsee COMMAND ...`: finds the command's module, and turns a user's mistake into one sentence and exit code 2."""

import gc
import os
import signal
import sys
import time
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from contextvars import copy_context
from dataclasses import replace
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from types import ModuleType

from unsee import __version__
from unsee.cli.configured import configured
from unsee.cli.telling import starting, taken, tell
from unsee.errors import InputError, MissedError, unknown
from unsee.system.launching import FSDP2, SPREAD, Machines, launched, of_file
from unsee.system.memory import lacks_memory
from unsee.system.signals import ENDING, leave_with_parent, stoppable
from unsee.system.terminal import speaks

COMMANDS = {
    "demo": "forget ten people of the embedded benchmark, offline, and measure it",
    "forget": "make a model forget what is on some photos",
    "session": "requests one after the other, recorded and provable",
    "evaluate": "score a model on a benchmark, beside the model before and an oracle",
    "attack": "try to bring the target back, beside a model that never saw it",
    "bench": "methods side by side, with a model that never saw the target",
    "bench-stream": "single requests one after the other, methods side by side",
    "oracle": "train a benchmark's model again without the target, and check that it does not know it",
    "moments": "retained statistics, so that later requests need no retained image",
    "inspect": "which parameters are visual, which are protected, what would be trained",
    "export": "put an edited visual module into another checkpoint of the same model",
    "report": "the page of a result.json again",
    "ls": "what there is: methods, families, benchmarks, metrics, attacks",
    "completion": "the script by which a shell completes commands and options",
}


ACTIONS = ("init", "forget", "settle", "undo", "export", "capacity")  # of sessions
LONG = {"demo", "forget", "evaluate", "attack", "bench", "bench-stream", "oracle", "moments"}  # they import torch
WAIT = 2.0  # seconds
MOST_COLUMNS = 104  # of the help
MOST_PROCESSES, DIGITS = 16, 9  # for each processor of this machine; of a number that is read at all
SHARED = ("forget", "moments", "evaluate")  # commands that several processes can share


def _usage() -> str:
    """The help, as wide as the terminal."""
    columns = min(get_terminal_size().columns, MOST_COLUMNS)
    rows = COMMANDS | {
        "COMMAND --help": "the command's options, with an example; --help-all every one",
        "--version": "the version",
    }
    width = max(map(len, rows))

    def row(name: str, text: str) -> str:
        return fill(f"  {name:<{width}}  {text}", columns, subsequent_indent=" " * (width + 4))

    listed = [row(name, text) for name, text in rows.items()]
    every = (
        "With every command: --quiet shows no progress, --verbose also what libraries say, --log-file FILE keeps "
        "everything that is told with its time, and --config FILE.toml reads options from a file. --device and "
        "--precision say where models compute, and how; a GPU is used where there is one. forget, moments, evaluate "
        "and bench take --num-processes N; the first three take --accelerate-config FILE, or fsdp2 for models that do "
        "not fit into one device, and run under torchrun and accelerate launch, too."
    )
    what = "Make a vision-language model stop recognising what it must not, by editing only its visual module."
    return "\n\n".join([
        "usage: unsee COMMAND [OPTIONS]",
        fill(what, columns),
        "\n".join(listed[: len(COMMANDS)]),
        "\n".join(listed[len(COMMANDS) :]),
        fill(every, columns, break_on_hyphens=False),
        "example: unsee demo --out demo",
    ])  # fmt: skip


def _command(name: str) -> ModuleType:
    """The module of a command, without looking for garbage among the million objects that importing torch makes."""
    gc.disable()
    try:
        module = import_module(f"unsee.cli.{name.replace('-', '_')}")
        gc.freeze()  # nor later, above all not at the end of the process
    finally:
        gc.enable()
    return module


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns 0 when done, 1 when a check failed, 2 for bad arguments or input."""
    args = sys.argv[1:] if argv is None else argv
    _always_written()
    with stoppable() as ending:
        try:
            code = _run(args)
            if sys.stdout is not None:
                sys.stdout.flush()  # where its reader has left, it is here that this is seen
        except InputError as error:
            tell(str(error))
            return 2
        except MissedError as error:
            tell(str(error))
            return 1
        except KeyboardInterrupt:
            if speaks():
                tell("interrupted")
            return ending.code
        except Exception as error:
            if ending.signal:
                tell("interrupted")  # a library made something else of it
                return ending.code
            if isinstance(error, BrokenPipeError):  # whoever read the output has left, as head does
                _mute()
                return 128 + signal.SIGPIPE
            said = _refused(error)
            if not said:
                raise
            _mute()
            tell(said)
            return 2
        return code


def _refused(error: Exception) -> str:
    """What the system refused, in a sentence; empty where the error is another one."""
    if lacks_memory(error):
        return (
            "the memory does not suffice; try --memory low where the command has it, fewer or smaller photos, or a "
            "machine with more memory."
        )
    if not isinstance(error, OSError) or error.errno is None:
        return ""
    place = "" if error.filename is None else f"{error.filename}: "
    return f"{place}{error.strerror}; put the disk or its permissions right, and run the command again."


def _always_written() -> None:
    """Lets text be printed that the terminal's encoding lacks: it is written out."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _mute() -> None:
    """Drops what cannot be written to stdout any more, or Python would try again at its end."""
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        return
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _run(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if args[0] == "--version":
        print(f"unsee {__version__}")
        return 0
    try:
        Path.cwd()
    except OSError as error:
        raise InputError("the folder that this command runs in is gone; change into one that is there.") from error
    if args[0] not in COMMANDS:
        raise unknown("command", args[0], COMMANDS)
    given, machines = _machines(configured(args))
    if "WORLD_SIZE" in os.environ:  # it is one of several already
        if machines.spread:
            os.environ[SPREAD] = "true"
        machines = Machines(1)
    if machines.spread and given[0] == "bench":
        raise InputError("bench makes each cell in one process, which holds all weights; leave fsdp2 out.")
    if machines.processes > 1 and given[0] == "bench":  # its cells are made one by one, each in one process
        given, machines = [*given, "--jobs", str(machines.processes)], Machines(1)
    if machines.processes * machines.count > 1:
        if given[0] not in SHARED:
            raise InputError(f"unsee {given[0]} runs in one process; several can share {', '.join(SHARED)} and bench.")
        return launched(_machines(args)[0], machines)  # each reads its --config itself
    rest, told = taken(given[1:])
    with told.opened():
        if _takes_long(given[0], rest):
            starting()
        command = _command(given[0])
        if "WORLD_SIZE" in os.environ and given[0] in SHARED:
            return _shared(command, rest)
        code: int = copy_context().run(command.main, rest)  # what it asks for ends with it
    return code


def _takes_long(command: str, rest: list[str]) -> bool:
    """Whether a command has work to do for which much is imported, and is not asked for its help."""
    if not rest or {"-h", "--help", "--help-all"} & set(rest):
        return False
    return command in LONG or (command == "session" and rest[0] in ACTIONS)


def _machines(args: list[str]) -> tuple[list[str], Machines]:
    """The arguments without --num-processes and --accelerate-config, and what they say of processes.

    What the file says of device and precision gives way to options that are typed.
    """
    rest, said, words = list[str](), dict[str, str](), iter(args)
    for word in words:
        name, equals, value = word.partition("=")
        if name in ("--num-processes", "--accelerate-config"):
            said[name] = value if equals else next(words, "")
            if name == "--accelerate-config" and not said[name]:
                raise InputError("--accelerate-config names no file; write it behind the option.")
        else:
            rest.append(word)
    number = said.get("--num-processes", "1")
    most = MOST_PROCESSES * (os.cpu_count() or 1)
    if not number.isdecimal() or len(number) > DIGITS or not 1 <= int(number) <= most:
        raise InputError(
            f"--num-processes is {number[:DIGITS]!r}; expected a number from 1 to {most}, {MOST_PROCESSES} for each "
            "processor of this machine."
        )
    if "--accelerate-config" not in said:
        return rest, Machines(int(number))
    if said["--accelerate-config"] == FSDP2:
        return rest, Machines(int(number), spread=True)
    machines, options = of_file(Path(said["--accelerate-config"]))
    if machines.processes > most:
        file = said["--accelerate-config"]
        raise InputError(f"{file} asks for {machines.processes} processes on this machine; expected at most {most}.")
    typed = {word.partition("=")[0] for word in rest}
    for name, value in zip(options[::2], options[1::2], strict=True):
        rest += [] if name in typed else [name, value]
    if "--num-processes" in said:
        machines = replace(machines, processes=int(number))
    return rest, machines


def _shared(command: ModuleType, rest: list[str]) -> int:
    """Runs a command as one of several processes: the first speaks, and its code is that of all."""
    from unsee.system import processes

    leave_with_parent()
    with processes.together(), ExitStack() as stack:
        if not processes.first():
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        try:
            code: int = copy_context().run(command.main, rest)
        except (InputError, MissedError) as error:
            if processes.first():
                raise
            if _ended_with_first():  # which says what all run into
                return 1
            raise type(error)(f"process {processes.rank()}: {error}") from error
        try:
            return processes.same(code)
        except RuntimeError:
            if processes.first():
                raise
            _ended_with_first()  # which alone writes, and says what ended it
            return 1


def _ended_with_first() -> bool:
    """Waits; whether this process was told to end meanwhile, as all are when the first one has."""
    try:
        time.sleep(WAIT)
    except KeyboardInterrupt:
        return True
    return False


def run() -> None:
    """The program: runs the command that was typed and leaves with its code."""
    try:
        code = main()
    except KeyboardInterrupt:  # before or after the command itself
        code = 130
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL)
    sys.exit(code)


if __name__ == "__main__":
    run()
