"""Reads a command's options into its dataclass."""

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from typing import Annotated, Any, TypeVar, get_origin

import tyro

from unsee.errors import InputError
from unsee.system.hub import HUB, on_hub
from unsee.system.terminal import is_text, one_line, printable

Options = TypeVar("Options")
EVERYWHERE = {
    "--device": "auto, cpu, cuda, cuda:N or mps: where models compute; auto is a GPU where there is one",
    "--precision": "auto, float32 or bfloat16: how they run forward; auto is bfloat16 on a GPU that computes in it",
}
Groups = Mapping[str, Sequence[str]]  # headings of --help, each with the options under it
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
Public = Annotated[
    Path | None,
    tyro.conf.arg(
        help="Photos of anybody but the target, where there are no retained ones: what the model makes of them is kept "
        "as well. Whom they show need not be known to it."
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


def parse(kind: type[Options], args: list[str], prog: str, short: Groups | None = None) -> Options:
    """The options of one command. Prints help and leaves with 0, or an error and leaves with 2.

    The dataclass's docstring is the description; its paragraphs and the example stay as they are written. --help shows
    the options named in `short`, under its headings, and --help-all every one; without `short` both show all. --config
    FILE.toml stands for the options that are written in the file; what is typed beside it counts more. Those of
    EVERYWHERE, where and how models compute, hold from then on.
    """
    text = re.sub(r"\n {4}", "\n", (get_origin(kind) or kind).__doc__ or "").strip()
    given = _computing(_configured(args))
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
                print(_shortened(told.getvalue(), short or {}, prog))
            elif {"-h", "--help"} & set(given):
                print(
                    "\nEvery command also takes",
                    *(f"  {name} NAME  {text}" for name, text in EVERYWHERE.items()),
                    sep="\n",
                )
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


def _computing(args: Sequence[str]) -> list[str]:
    """The arguments without those that say where and how models compute, which hold from now on."""
    rest, found, words = list[str](), dict[str, str](), iter(args)
    for word in words:
        name, equals, value = word.partition("=")
        if name in EVERYWHERE:
            found[name.removeprefix("--")] = value if equals else next(words, "")
        else:
            rest.append(word)
    if any(not value for value in found.values()):
        raise InputError("--device and --precision need a name behind them; leave them out for auto.")
    if found:
        from unsee.system.device import compute  # torch takes a second, and most commands print help without it

        compute(**found)
    return rest


def _shortened(text: str, groups: Groups, prog: str) -> str:
    """Help with these options only, under their headings, and a word on where the others are."""
    lines, found, option = text.splitlines(), dict[str, list[str]](), ""
    start = [line.strip("╭╮─ ") for line in lines].index("options")
    for line in lines[start + 1 :]:
        if found and (not line.strip() or line[0] in "╭╰"):
            break  # the box of the command's own options has ended
        if match := re.match(r"[│ ] (?:-h, )?--([a-z-]+)", line):
            option = match[1]
        if option:
            found.setdefault(option, []).append(line.removeprefix("│").removesuffix("│").rstrip())
    width = get_terminal_size().columns
    about = [line if line.startswith(" ") else fill(line, width) for line in lines[:start]]
    shown = ["\n".join(about).rstrip()]
    for heading, names in groups.items():
        shown += ["", heading, *(line for name in names for line in found[name])]
    command = " ".join(prog.split()[:3] if prog.startswith("unsee session") else prog.split()[:2])
    return _readable("\n".join([*shown, "", f"Every option, and the settings of the method: {command} --help-all"]))


def _readable(text: str) -> str:
    """Without what tells a programmer of types and empty defaults alone."""
    text = re.sub(r"\{None\}\|(\w+)", r"\1", text)
    return re.sub(r"\s*\(default:\s*(?:None|False|'')?\s*\)", "", text)


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
