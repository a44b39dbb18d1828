"""Reads a command's options into its dataclass."""

import re
import sys
import tomllib
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin

import tyro

from unsee.errors import InputError
from unsee.system.hub import HUB, on_hub
from unsee.system.terminal import is_text, one_line, printable

Options = TypeVar("Options")
NAMES = ("model", "before", "oracle", "data", "onto", "edited")  # options that may be names of files
AskOption = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        help="Whether the model itself is asked about the photos, before and after. auto: where it fits into memory; "
        "never; or the question to ask, as with --question."
    ),
]
Questions = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        help="Questions to ask about every photo. The verdict goes by that one whose answers name the target best."
    ),
]
AnswerFromFolder = Annotated[
    bool,
    tyro.conf.arg(help="The right answer is the name of the photo's folder. Else it is what the model says before."),
]
QuestionsFile = Annotated[
    Path | None,
    tyro.conf.arg(
        help="A JSONL file of questions with right answers. Each line has a subset (target, retained or stranger), a "
        "question, an answer and, if it is about a photo, an image."
    ),
]
KeepAnyway = Annotated[bool, tyro.conf.arg(help="Write what came of it even where the request did not reach its aim.")]


def asked(ask: tuple[str, ...], questions: tuple[str, ...] = ()) -> str | tuple[str, ...]:
    """What `unsee.forget` takes as `ask`. Raises InputError where questions are given and none may be asked."""
    if questions and ask == ("never",):
        raise InputError("--question asks the model and --ask never forbids it; leave one of them out.")
    if questions:
        return questions if ask == ("auto",) else (*ask, *questions)
    return ask[0] if len(ask) == 1 else ask


def parse(kind: type[Options], args: list[str], prog: str, short: Sequence[str] = ()) -> Options:
    """The options of one command. Prints help and leaves with 0, or an error and leaves with 2.

    The dataclass's docstring is the description; its paragraphs and the example stay as they are written. --help shows
    the options named in `short`, and --help-all every one; without `short` both show all. --config FILE.toml stands for
    the options that are written in the file; what is typed beside it counts more.
    """
    text = re.sub(r"\n {4}", "\n", (get_origin(kind) or kind).__doc__ or "").strip()
    given = _configured(args)
    every = "--help-all" in given
    given = ["--help" if word == "--help-all" else word for word in given]
    with ExitStack() as stack:
        brief = short and not every and {"-h", "--help"} & set(given)
        told = stack.enter_context(redirect_stdout(StringIO())) if brief else None
        if any(one_line(word) != word for word in given):  # the parser quotes what was typed as it is
            stack.enter_context(_cleaned())
        try:
            options: Options = tyro.cli(
                kind,
                args=given,
                prog=prog,
                description=text,
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
                console_outputs=sys.stderr is not None,
            )
        except SystemExit:
            stack.close()
            if told is not None:
                print(_shortened(told.getvalue(), {"help", *short}, prog))
            raise
    _check_texts(options)
    return options


def _check_texts(options: Any) -> None:
    """Raises InputError for a text, but for names of files, with bytes that are no text: it could not be written."""
    for name, value in vars(options).items():
        texts = value if isinstance(value, tuple) else (value,)
        if name not in NAMES and not all(is_text(text) for text in texts if isinstance(text, str)):
            raise InputError(f"--{name.replace('_', '-')} holds bytes that are no text in UTF-8; type it anew.")


@contextmanager
def _cleaned() -> Iterator[None]:
    """While open, what is said on stderr is kept, and said at the end without what could steer a terminal."""
    with redirect_stderr(StringIO()) as told:
        try:
            yield
        finally:
            said = printable(told.getvalue())
    print(said, end="", file=sys.stderr)


def _shortened(text: str, names: Collection[str], prog: str) -> str:
    """Help with these options only, and a word on where the others are."""
    kept, inside, wanted = list[str](), False, True
    for line in text.splitlines():
        heading = line.strip("╭╮─ ") in ("options", "method options")
        if inside and (heading or line.startswith("╰")):
            break  # the box of the command's own options has ended
        inside = inside or heading
        if inside and (option := re.match(r"[│ ] (?:-h, )?--([a-z-]+)", line)):
            wanted = option[1] in names
        if wanted:
            kept.append(line.strip("│ ") if not line.strip("│ ") else line.removeprefix("│").removesuffix("│").rstrip())
    command = " ".join(prog.split()[:3] if prog.startswith("unsee session") else prog.split()[:2])
    return "\n".join([*kept, f"Every option, and the settings of the method: {command} --help-all"])


def _configured(args: Sequence[str]) -> list[str]:
    """The arguments, with what a file named by --config says before them."""
    given, file = list(args), None
    for place, word in enumerate(args):
        if word == "--config" and place + 1 < len(args):
            file, given = Path(args[place + 1]), [*args[:place], *args[place + 2 :]]
        elif word.startswith("--config="):
            file, given = Path(word.partition("=")[2]), [*args[:place], *args[place + 1 :]]
    return given if file is None else [*_from_file(file), *given]


def _from_file(file: Path) -> list[str]:
    """The options that a TOML file holds, as they would be typed; tables are for the eye alone."""
    try:
        values: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as TOML ({error}); expected lines such as seed = 1.") from error
    for table in [value for value in values.values() if isinstance(value, dict)]:
        values |= table
    words = list[str]()
    for name, value in values.items():
        if isinstance(value, dict) or value is False:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words += [str(part) for part in value] if isinstance(value, list) else [str(value)]
    return words


def located(options: Options) -> Options:
    """The same options; with `hub`, what is no folder here has hf:// before its name."""
    given: Any = options
    if not given.hub:
        return options
    names = {name: getattr(given, name, None) for name in NAMES[:4]}
    there = {name: f"{HUB}{value}" for name, value in names.items() if isinstance(value, str) and not _known(value)}
    changed: Options = replace(given, **there)
    return changed


def _known(name: str) -> bool:
    return on_hub(name) is not None or Path(name).exists()
