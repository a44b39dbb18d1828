"""Benchmarks by name, `NAME` or `NAME/SPLIT`, or a file of questions and answers."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unsee.benchmarks import clear, fiubench, mllmu, mlubench, pebench, personas, umu
from unsee.benchmarks.benchmark import Benchmark
from unsee.benchmarks.published import Protocol
from unsee.data import load as read
from unsee.errors import InputError, unknown

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "personas": personas.load,
    "mllmu": mllmu.load,
    "clear": clear.load,
    "umu": umu.load,
    "fiubench": fiubench.load,
    "mlubench": mlubench.load,
    "pebench": pebench.load,
}
OFFICIAL: dict[str, Mapping[str, str]] = {
    "mllmu": mllmu.BUGS,
    "clear": clear.BUGS,
    "umu": umu.BUGS,
    "fiubench": fiubench.BUGS,
}
"""Benchmarks that can be asked as their official code does, each with mistakes of that code and what they are."""


def load(name: str, data: str | None = None, *, official: bool = False, bugs: Sequence[str] = ()) -> Benchmark:
    """Loads `NAME` (its default split), `NAME/SPLIT`, or the questions of a JSONL or Parquet file.

    `data` is where a published benchmark is: a folder as it is published, or hf://OWNER/NAME; its own on the hub
    where it is None. With `official` it is asked and scored as its code does, but for the mistakes of that code; those
    named by `bugs`, see OFFICIAL, are made as well. Raises InputError for an unknown name, split or mistake, for a
    benchmark that has no such protocol, and for data that is not as expected.
    """
    head, _, split = name.partition("/")
    if (official or bugs) and head not in OFFICIAL:
        raise InputError(f"{head} has no official protocol here; expected one of {', '.join(OFFICIAL)}.")
    if Path(name).is_file() or (head not in BENCHMARKS and Path(name).exists()):
        return _from_file(Path(name))
    if head not in BENCHMARKS and Path(name).suffix.lower() in (".jsonl", ".parquet"):
        raise InputError(f"there is no file {name}; correct its path, or name a benchmark of unsee ls benchmarks.")
    if head not in BENCHMARKS:
        raise unknown("benchmark", head, BENCHMARKS)
    if data is not None and head == "personas":
        raise InputError(f"personas comes with unsee and takes no data; leave {data} out.")
    options: dict[str, Any] = {} if data is None else {"data": data}
    if official:
        for bug in bugs:
            if bug not in OFFICIAL[head]:
                raise unknown(f"mistake of {head}'s code", bug, OFFICIAL[head])
        options["protocol"] = Protocol(official=True, bugs=frozenset(bugs))
    elif bugs:
        raise InputError("mistakes of official code belong to its protocol; add --protocol official.")
    return BENCHMARKS[head](*filter(None, (split,)), **options)


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
