"""Reads a command's options into its dataclass."""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from typing import Annotated, Any, TypeVar, get_origin
from unittest.mock import patch

import tyro

from unsee.cli.configured import Written, switched
from unsee.cli.mistyped import sentence
from unsee.errors import InputError, check_seed
from unsee.system.disk import at_home
from unsee.system.hub import HUB, on_hub
from unsee.system.terminal import is_text

Options = TypeVar("Options")
EVERYWHERE = {
    "--device": "auto, cpu, cuda, cuda:N or mps: where models compute; auto is a GPU where there is one",
    "--precision": "auto, float32 or bfloat16: how they run forward; auto is bfloat16 on a GPU that computes in it",
}
NARROWEST, WIDEST = 40, 120
UNBROKEN = 1 << 20  # columns in which the parser breaks no line of an error
HEADINGS = ("positional arguments", "options")  # what the tables of the parser's own help begin with
HOW = (tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes)
Groups = Mapping[str, Sequence[str]]  # headings of --help, each with the options under it
NAMES = ("model", "before", "oracle", "data", "onto", "edited")  # options that may be names of files
AskOption = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        help="Whether the model itself is asked about the photos. auto: where it fits into memory; never; or the "
        "question to ask."
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
        "question, an answer and, if it is about a photo, an image. A question about a photo "
        "that is not about who or what it shows has a score as well: scene or appearance."
    ),
]
Public = Annotated[
    Path | None,
    tyro.conf.arg(
        help="Photos of anybody but the target, where there are no retained ones: what the model makes of them is kept "
        "as well. Whom they show need not be known to it."
    ),
]
SkipUnreadable = Annotated[
    bool,
    tyro.conf.arg(help="Leave out photos of folders that cannot be read, and say so, instead of ending at the first."),
]
DropSimilar = Annotated[
    bool,
    tyro.conf.arg(help="Leave out retained photos that the model takes for the target, instead of ending there."),
]
CacheFolder = Annotated[
    Path | None,
    tyro.conf.arg(
        help="Folder where what is measured of the retained photos is kept, so that a later run, or one of another "
        "seed, with the same model and photos need not measure it again. Treat it as the photos."
    ),
]
KeepAnyway = Annotated[bool, tyro.conf.arg(help="Write what came of it even where the request did not reach its aim.")]


def asked(ask: tuple[str, ...], questions: tuple[str, ...] = ()) -> str | tuple[str, ...]:
    """What `unsee.forget` takes as `ask`. Raises InputError where questions are given and none may be asked."""
    if len(ask) > 1 and (word := next((each for each in ask if each in ("auto", "never")), "")):
        raise InputError(f"--ask takes {word} alone; write it without another word, or give questions and no {word}.")
    if questions and ask == ("never",):
        raise InputError("--question asks the model and --ask never forbids it; leave one of them out.")
    if questions:
        return questions if ask == ("auto",) else (*ask, *questions)
    return ask[0] if len(ask) == 1 else ask


def parse(kind: type[Options], args: list[str], prog: str, short: Groups | None = None) -> Options:
    """The options of one command. Prints help and leaves with 0, or an error and leaves with 2.

    The dataclass's docstring is the description; its paragraphs and the example stay as they are written. --help shows
    the options named in `short`, under its headings, and --help-all every one; without `short` both show all. Those
    of EVERYWHERE, where and how models compute, hold from then on.
    """
    text = re.sub(r"\n {4}", "\n", (get_origin(kind) or kind).__doc__ or "").strip()
    given = [_at_home(word) for word in _computing(args)]
    every = "--help-all" in given
    given = ["--help" if word == "--help-all" else word for word in given]
    if any(isinstance(word, Written) for word in given):
        given = switched(given, _help(kind))
    helped = bool({"-h", "--help"} & set(given))
    brief = short if helped and not every else None
    out = sys.stdout
    with _bounded(None if helped else UNBROKEN), redirect_stdout(StringIO()) as told:
        try:
            with redirect_stderr(StringIO()) as refused:
                options: Options = tyro.cli(kind, args=given, prog=prog, description=text, config=HOW)
        except SystemExit as ended:
            if ended.code:
                raise InputError(
                    sentence(refused.getvalue(), prog, re.findall(r"--[a-z0-9-]+", _help(kind)))
                ) from ended
            said = told.getvalue()
            print(_shortened(said, brief, prog) if brief else _whole(said), file=out)
            raise
    _check_texts(options)
    _check_named(options, given)
    return options


def _width() -> int:
    """Characters in a line of help: beyond the most the parser sets tables side by side, below the least none fits."""
    return min(max(get_terminal_size().columns, NARROWEST), WIDEST)


def _bounded(width: int | None = None) -> AbstractContextManager[object]:
    """While open, the parser takes the terminal for so wide, or as wide as help is."""
    return patch.dict(os.environ, {"COLUMNS": str(width or _width())})


def _at_home(word: str) -> str:
    """With the home folder for the ~ that begins a path: behind a = no shell writes it, nor does one read a file."""
    name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return f"{name}{equals}{at_home(value)}" if value.startswith("~/") else word


def _help(kind: type[Any]) -> str:
    """What a command says of its options."""
    with _bounded(), redirect_stdout(StringIO()) as told, suppress(SystemExit):
        tyro.cli(kind, args=["--help"], config=HOW)
    return told.getvalue()


def _check_texts(options: Any) -> None:
    """Raises InputError for a text, but for names of files, with bytes that are no text: it could not be written.

    And for a file's name that none can have, and a seed that no generator takes.
    """
    for name, value in vars(options).items():
        texts = value if isinstance(value, tuple) else (value,)
        if name not in NAMES and not all(is_text(text) for text in texts if isinstance(text, str)):
            raise InputError(f"--{name.replace('_', '-')} holds bytes that are no text in UTF-8; type it anew.")
        if name == "seed":
            check_seed(value, "--seed")
        if any("\0" in str(text) for text in texts if isinstance(text, str | Path)):
            raise InputError(f"--{name.replace('_', '-')} holds a zero byte, which no file's name may; type it anew.")


def _check_named(options: Any, given: Sequence[str]) -> None:
    """Raises InputError for an empty word in the place of a path, which would be the folder that a command runs in."""
    words = {word.partition("=")[2] if word.startswith("--") and "=" in word else word for word in given}
    if "" not in words:
        return
    for name, value in vars(options).items():
        if (name in NAMES and value == "") or (value == Path() and not words & {".", "./"}):
            raise InputError(f"--{name.replace('_', '-')} is empty; expected a path (. is the folder you are in).")


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
    shown = ["\n".join(map(_filled, lines[:start])).rstrip()]
    for heading, names in groups.items():
        shown += ["", heading, *(line for name in names for line in found[name])]
    command = " ".join(prog.split()[:3] if prog.startswith("unsee session") else prog.split()[:2])
    every = "Every option, and the settings of the method" if "method options" in text else "Every option"
    return _readable("\n".join([*shown, "", _filled(f"{every}: {command} --help-all")]))


def _whole(text: str) -> str:
    """Help with every option, no line of its prose wider than the terminal, and the options that all commands have."""
    lines = text.splitlines()
    start = next((place for place, line in enumerate(lines) if line.strip("╭╮─ ") in HEADINGS), len(lines))
    shown = [*map(_filled, lines[:start]), *lines[start:], "Every command also takes"]
    return _readable("\n".join([*shown, *(_filled(f"  {n} NAME  {t}") for n, t in EVERYWHERE.items())]))


def _filled(line: str) -> str:
    """A line of prose in lines no wider than the terminal; a command of an example stays as it is."""
    if re.match(r" {2}unsee ", line):
        return line
    return fill(line, _width(), subsequent_indent=" " * 4 if line.startswith(" ") else "")


def _readable(text: str) -> str:
    """Without what tells a programmer of types and empty defaults alone."""
    text = re.sub(r"\{None\}\|(\w+)", lambda found: f"{found[1]:<{len(found[0])}}", text)
    text = re.sub(r"\s*\(default:\s*(?:None|False|'')?\s*\)", "", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def chosen(args: Sequence[str]) -> tuple[str, list[str]]:
    """The method that --method names, nscvf where none is, and the arguments without it."""
    for place, word in enumerate(args):
        name, equals, value = word.partition("=")
        if name == "--method" and equals:
            return value, [*args[:place], *args[place + 1 :]]
        if name == "--method" and place + 1 < len(args):
            return args[place + 1], [*args[:place], *args[place + 2 :]]
    return "nscvf", list(args)


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
