"""`unsee report`: the page of a result.json again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from unsee.cli.parse import parse
from unsee.cli.telling import out
from unsee.records import read_result
from unsee.reporting import write
from unsee.reporting.page import is_page
from unsee.system.output import refuse_existing


@dataclass(frozen=True)
class Options:
    """Make the page of a result again: one HTML file that needs no network.

    Example:
      unsee report demo/result.json --out report.html
    """

    result: Annotated[Path, tyro.conf.Positional]
    """A result.json that unsee wrote."""
    out: Path = Path("report.html")
    """The page to write."""
    overwrite: bool = False
    """Replace the page if it exists and unsee made it."""


def main(args: list[str]) -> int:
    """Writes the page."""
    options = parse(Options, args, "unsee report")
    result = read_result(options.result)
    refuse_existing(options.out, overwrite=options.overwrite, reads=(options.result,), mine=is_page)
    write(result, options.out)
    out(str(options.out))
    return 0
