"""How far long work is, for whoever wants to show it: deep code reports, and nobody has to hand a function down."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
Given = ParamSpec("Given")
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


def visible(work: Callable[Given, T]) -> Callable[Given, T]:
    """The same function, which shows by tqdm how far it is, on a terminal or in a notebook, unless somebody does."""

    @wraps(work)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> T:
        if _shown.get() is not None:
            return work(*args, **kwargs)
        bars: dict[str, Any] = {}
        try:
            with reported(_by_tqdm(bars)):
                return work(*args, **kwargs)
        finally:
            for bar in bars.values():
                bar.close()

    return run


def _by_tqdm(bars: dict[str, Any]) -> Report:
    """Shows each kind of work as a bar, which is kept in `bars` until it is done."""
    from tqdm.auto import tqdm

    notebook = any("notebook" in kind.__module__ for kind in tqdm.__mro__)
    seen = notebook or (sys.stderr is not None and sys.stderr.isatty())

    def show(what: str, done: int, total: int, detail: str = "") -> None:
        if done == 0 and what in bars:
            bars.pop(what).close()
        if what not in bars:
            bars[what] = tqdm(desc=what, total=total, disable=not seen, leave=notebook)
        bars[what].set_postfix_str(detail, refresh=False)
        bars[what].update(done - bars[what].n)
        if done == total:
            bars.pop(what).close()

    return show
