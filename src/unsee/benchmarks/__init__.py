"""Benchmarks by name: `NAME` or `NAME/SPLIT`."""

from collections.abc import Callable

from unsee.benchmarks import personas
from unsee.benchmarks.benchmark import Benchmark
from unsee.errors import unknown

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {"personas": personas.load}


def load(name: str) -> Benchmark:
    """Loads `NAME` (its default split) or `NAME/SPLIT`. Raises InputError for an unknown name or split."""
    head, _, split = name.partition("/")
    if head not in BENCHMARKS:
        raise unknown("benchmark", head, BENCHMARKS)
    return BENCHMARKS[head](split) if split else BENCHMARKS[head]()
