"""A cell of a comparison, and the files in its folder."""

from dataclasses import dataclass
from pathlib import Path

RESULT, OUTCOMES, LOG, FAILED = "result.json", "outcomes.json", "log.json", "failed.txt"


@dataclass(frozen=True)
class Cell:
    """One run of one method, and where its results are."""

    method: str
    split: str
    seed: int
    folder: Path
