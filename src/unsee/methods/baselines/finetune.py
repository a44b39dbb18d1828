"""Fine-tuning on retained answers alone, in the hope that the rest is forgotten; a baseline.

Source: usual in the field, as in TOFU (arXiv 2401.06121); with the model's own answers is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from unsee.errors import check_ranges
from unsee.forgetting.by_answers import Objective, ScopedAnswerMethod


@dataclass(frozen=True)
class Finetune(ScopedAnswerMethod):
    """Settings of the method."""

    weight: float = 1.0
    """Weight of the retained answers, 0 or more."""

    name: ClassVar[str] = "finetune"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        super().__post_init__()
        check_ranges(self, at_least_0=("weight",))

    def objective(self) -> Objective:
        """What is made small."""
        return Objective(weight=self.weight)
