"""What a benchmark is: a request, what is to be kept, and the questions that measure both."""

from dataclasses import dataclass
from pathlib import Path

from unsee.records import Sample


@dataclass(frozen=True)
class Benchmark:
    """One split of a benchmark. `questions` are never about an image of `target` but those of subset target_seen.

    `model` and `oracle` are checkpoints that come with the benchmark, if any; `unknown` are images of concepts that no
    model knows, shown in the report's map.
    """

    name: str
    split: str
    model: Path | None
    oracle: Path | None
    target: list[Sample]
    retained: list[Sample]
    questions: list[Sample]
    unknown: list[Sample]
