"""Tables and notes on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unsee.cli.telling import LOG, tell
from unsee.records import Check, Result
from unsee.reporting.summary import FAILED, OPEN, PASSED, lines, state, title
from unsee.system.terminal import one_line


def print_table(rows: Sequence[Mapping[str, str]], title: str | None = None) -> None:
    """Prints rows that share their keys; the keys are the headings, of columns in which there is something.

    Text from data is not read as markup.
    """
    table = Table(
        title=None if title is None else escape(one_line(title)),
        box=None,
        header_style="bold",
        pad_edge=False,
        title_justify="left",
    )
    columns = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(one_line(row[column]).replace("[", r"\[") for column in columns))
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
    Console(soft_wrap=True, highlight=False).print(f"{state}: {one_line(text)}", style=STYLES[state], markup=False)
    LOG.info("%s: %s", state, one_line(text))


def warn(text: str) -> None:
    """Says something on stdout that must not be overlooked."""
    Console(soft_wrap=True, highlight=False).print(one_line(text), style="bold red", markup=False)


def tell_of(folder: Path, what: str) -> None:
    """Says something about a folder on stderr; nothing where there is nothing to say."""
    if what:
        tell(f"{folder}: {what}.")
