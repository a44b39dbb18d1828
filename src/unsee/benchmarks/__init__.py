"""Benchmarks by name, `NAME` or `NAME/SPLIT`, or a file of questions and answers."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from unsee import data
from unsee.benchmarks import personas
from unsee.benchmarks.benchmark import Benchmark
from unsee.errors import InputError, unknown

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {"personas": personas.load}


def load(name: str) -> Benchmark:
    """Loads `NAME` (its default split), `NAME/SPLIT`, or the questions of a JSONL or Parquet file.

    Raises InputError for an unknown name or split, and for a file without questions and answers.
    """
    if Path(name).exists():
        return _from_file(Path(name))
    head, _, split = name.partition("/")
    if head not in BENCHMARKS:
        raise unknown("benchmark", head, BENCHMARKS)
    return BENCHMARKS[head](split) if split else BENCHMARKS[head]()


def _from_file(path: Path) -> Benchmark:
    """Every question of a file counts towards the score accuracy/all."""
    samples = data.load(path)
    for number, sample in enumerate(samples, 1):
        if not sample.question or not sample.answer:
            raise InputError(
                f"sample {number} of {path} has no question or no answer; a benchmark needs both in every row."
            )
    questions = [dataclasses.replace(sample, score="accuracy", subset="all") for sample in samples]
    return Benchmark(path.stem, "", None, None, target=[], retained=[], questions=questions, unknown=[])
