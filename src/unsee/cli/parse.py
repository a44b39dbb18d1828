"""Reads a command's options into its dataclass."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_origin

import tyro

from unsee.errors import InputError
from unsee.system.hub import HUB, on_hub

Options = TypeVar("Options")
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


def parse(kind: type[Options], args: list[str], prog: str) -> Options:
    """The options of one command. Prints help and leaves with 0, or an error and leaves with 2.

    The dataclass's docstring is the description; its paragraphs and the example stay as they are written.
    """
    text = re.sub(r"\n {4}", "\n", (get_origin(kind) or kind).__doc__ or "").strip()
    return tyro.cli(
        kind,
        args=args,
        prog=prog,
        description=text,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
        console_outputs=sys.stderr is not None,
    )


def located(options: Options) -> Options:
    """The same options; with `hub`, what is no folder here has hf:// before its name."""
    given: Any = options
    if not given.hub:
        return options
    names = {name: getattr(given, name, None) for name in ("model", "before", "oracle", "data")}
    there = {name: f"{HUB}{value}" for name, value in names.items() if isinstance(value, str) and not _known(value)}
    changed: Options = replace(given, **there)
    return changed


def _known(name: str) -> bool:
    return on_hub(name) is not None or Path(name).exists()
