"""Tables and notes on the terminal."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from unsee.system.terminal import printable


def print_table(rows: Sequence[Mapping[str, str]], title: str | None = None) -> None:
    """Prints rows that share their keys; the keys are the headings. Text from data is not read as markup."""
    table = Table(title=title, box=None, header_style="bold", pad_edge=False, title_justify="left")
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(printable(value).replace("[", r"\[") for value in row.values()))
    Console().print(table)


def tell(folder: Path, what: str) -> None:
    """Says something about a folder on stderr; nothing where there is nothing to say."""
    if what:
        print(f"unsee: {folder}: {what}.", file=sys.stderr)
