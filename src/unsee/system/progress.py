"""How far long work is, for whoever wants to show it: deep code reports, and nobody has to hand a function down."""

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

T = TypeVar("T")
Report = Callable[[str, int, int, str], None]
_shown: ContextVar[Report | None] = ContextVar("shown", default=None)


@contextmanager
def reported(to: Report) -> Iterator[None]:
    """While open, work is reported to a function (what, done, total, detail)."""
    token = _shown.set(to)
    try:
        yield
    finally:
        _shown.reset(token)


def report(what: str, done: int, total: int, detail: str = "") -> None:
    """Says how far a piece of work is, from 0 of its total on."""
    to = _shown.get()
    if to is not None:
        to(what, done, total, detail)


def steps(what: str, items: Iterable[T], count: int | None = None) -> Iterator[T]:
    """The items, each reported once it is done with; `count` is how many they are, where they do not say it."""
    total = len(items) if isinstance(items, Sized) else count or 0
    report(what, 0, total)
    for number, item in enumerate(items, 1):
        yield item
        report(what, number, total)
