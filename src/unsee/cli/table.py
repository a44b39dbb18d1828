"""Tables and notes on the terminal."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from unsee.cli.telling import LOG
from unsee.records import Check, Result
from unsee.reporting.summary import FAILED, OPEN, PASSED, lines, state, title
from unsee.system.terminal import printable


def print_table(rows: Sequence[Mapping[str, str]], title: str | None = None) -> None:
    """Prints rows that share their keys; the keys are the headings. Text from data is not read as markup."""
    table = Table(title=title, box=None, header_style="bold", pad_edge=False, title_justify="left")
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(printable(value).replace("[", r"\[") for value in row.values()))
    Console().print(table)


STYLES = {PASSED: "green", FAILED: "bold red", OPEN: "yellow"}


def print_checks(checks: Sequence[Check]) -> None:
    """A line for each check: its state, its name and the evidence."""
    for check in checks:
        say(PASSED if check.passed else FAILED, f"{check.name}, {check.detail}.")


def print_lines(result: Result) -> None:
    """What the page says first: each line with its state, and the state of the whole."""
    found = lines(result)
    for line in found:
        say(line.state, f"{line.title}. {line.text}")
    say(state(found), f"{title(result)}.")


def say(state: str, text: str) -> None:
    """A state, in its colour, and what it is about."""
    Console(soft_wrap=True, highlight=False).print(f"{state}: {printable(text)}", style=STYLES[state], markup=False)
    LOG.info("%s: %s", state, text)


def tell(folder: Path, what: str) -> None:
    """Says something about a folder on stderr; nothing where there is nothing to say."""
    if what:
        print(f"unsee: {folder}: {what}.", file=sys.stderr)
