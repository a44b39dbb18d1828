"""Benchmarks by name, `NAME` or `NAME/SPLIT`, or a file of questions and answers."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from unsee.benchmarks import clear, fiubench, mllmu, mlubench, personas, umu
from unsee.benchmarks.benchmark import Benchmark
from unsee.data import load as read
from unsee.errors import InputError, unknown

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "personas": personas.load,
    "mllmu": mllmu.load,
    "clear": clear.load,
    "umu": umu.load,
    "fiubench": fiubench.load,
    "mlubench": mlubench.load,
}


def load(name: str, data: str | None = None) -> Benchmark:
    """Loads `NAME` (its default split), `NAME/SPLIT`, or the questions of a JSONL or Parquet file.

    `data` is where a published benchmark is: a folder as it is published, or a hub id; its own on the hub where it is
    None. Raises InputError for an unknown name or split, and for data that is not as expected.
    """
    if Path(name).exists():
        return _from_file(Path(name))
    head, _, split = name.partition("/")
    if head not in BENCHMARKS:
        raise unknown("benchmark", head, BENCHMARKS)
    if data is not None and head == "personas":
        raise InputError(f"personas comes with unsee and takes no data; leave {data} out.")
    where = {} if data is None else {"data": data}
    return BENCHMARKS[head](*filter(None, (split,)), **where)


def _from_file(path: Path) -> Benchmark:
    """Every question of a file counts towards the score accuracy/all."""
    samples = read(path)
    for number, sample in enumerate(samples, 1):
        if not sample.question or not sample.answer:
            raise InputError(
                f"sample {number} of {path} has no question or no answer; a benchmark needs both in every row."
            )
    questions = [dataclasses.replace(sample, score="accuracy", subset="all") for sample in samples]
    return Benchmark(path.stem, "", None, None, target=[], retained=[], questions=questions, unknown=[])
