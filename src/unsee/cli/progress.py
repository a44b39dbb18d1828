"""Progress of long work: a bar on a terminal, plain lines with the time elsewhere, always on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from unsee.cli import telling
from unsee.system.progress import reported

EVERY = 5.0  # seconds between plain lines of one kind of work
WIDE = 100  # columns from which on there is room for the figures of a training


class Note(Protocol):
    """Shows how far a piece of work is."""

    def __call__(self, what: str, done: int, total: int, detail: str = "", /) -> None: ...


class _Rate(TextColumn):
    """Steps per second, or seconds per step."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(_each(speed) if speed else "")


def _each(speed: float) -> str:
    return f"{speed:.1f}/s" if speed >= 1 else f"{1 / speed:.1f} s each"


@contextmanager
def noting() -> Iterator[Note]:
    """Gives a function (what, done, total, detail) that shows how far the work is; deep code reports to it too."""
    show = _nothing if telling.now.quiet else _bars if sys.stderr.isatty() else _lines
    with show() as note, reported(_logged(note)):
        yield note


def _logged(note: Note) -> Note:
    """The same, kept in the log too: each kind of work once it is done with."""

    def both(what: str, done: int, total: int, detail: str = "") -> None:
        note(what, done, total, detail)
        if done == total:
            telling.LOG.info("%s %d/%d %s", what, done, total, detail)

    return both


@contextmanager
def _nothing() -> Iterator[Note]:
    yield lambda *_: None


@contextmanager
def _bars() -> Iterator[Note]:
    console = Console(stderr=True)
    columns = [TextColumn("{task.description}"), BarColumn(bar_width=12), MofNCompleteColumn(), _Rate()]
    columns += [TimeRemainingColumn(compact=True, elapsed_when_finished=True)]
    if console.width >= WIDE:
        columns.append(TextColumn("{task.fields[detail]}", style="dim"))
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, total: int, detail: str = "") -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, detail=detail)
            elif done == 0:
                bar.reset(tasks[what], total=total, detail=detail)
            bar.update(tasks[what], completed=done, total=total, detail=detail)

        yield show


def _pace(seconds: float, done: int, left: int) -> str:
    """How fast work is, and how long what is left takes; empty where nothing can be said."""
    if seconds < 1 or done < 1 or left < 1:
        return ""
    speed = done / seconds
    minutes, rest = divmod(round(left / speed), 60)
    return f", {_each(speed)}, {f'{minutes} min ' if minutes else ''}{rest} s left"


@contextmanager
def _lines() -> Iterator[Note]:
    last: dict[str, float] = {}
    first: dict[str, tuple[float, int]] = {}  # when the work was seen first, and how much of it was done then
    begun = set[str]()  # what was shown and is not done

    def line(what: str, done: int, total: int, detail: str = "") -> None:
        now = time.monotonic()
        if what not in first or done <= first[what][1]:
            first[what] = now, done
        if now - last.get(what, -EVERY) < EVERY and not (done == total and what in begun):
            return
        last[what] = now
        begun.add(what) if done < total else begun.discard(what)
        pace = _pace(now - first[what][0], done - first[what][1], total - done)
        telling.trace(f"{time.strftime('%H:%M:%S')} {what} {done}/{total}{pace}{detail and f': {detail}'}")

    yield line
