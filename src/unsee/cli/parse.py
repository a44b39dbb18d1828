"""Reads a command's options into its dataclass."""

import re
import sys
from typing import TypeVar, get_origin

import tyro

Options = TypeVar("Options")


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
