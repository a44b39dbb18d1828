"""Progress of long work: a bar on a terminal, plain lines elsewhere, always on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

EVERY = 5.0  # seconds between plain lines


class Note(Protocol):
    """Shows how far a piece of work is."""

    def __call__(self, what: str, done: int, total: int, detail: str = "", /) -> None: ...


@contextmanager
def noting() -> Iterator[Note]:
    """Gives a function (what, done, total, detail) that shows how far the work is."""
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            tasks: dict[str, TaskID] = {}

            def show(what: str, done: int, total: int, detail: str = "") -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=total, detail=detail)
                bar.update(tasks[what], completed=done, detail=detail)

            yield show
        return
    last: dict[str, float] = {}

    def line(what: str, done: int, total: int, detail: str = "") -> None:
        now = time.monotonic()
        if done < total and now - last.get(what, 0.0) < EVERY:
            return
        last[what] = now
        print(f"{what} {done}/{total} {detail}".rstrip(), file=sys.stderr, flush=True)

    yield line
