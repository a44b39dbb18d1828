"""GradDiff: up the loss of the target's answers, down that of retained ones; a baseline.

Source: Liu et al. 2022 (arXiv 2203.12817) as TOFU and its followers use it; with the model's own answers is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from unsee.errors import check_ranges
from unsee.forgetting.by_answers import Objective, ScopedAnswerMethod, ascent


@dataclass(frozen=True)
class GradDiff(ScopedAnswerMethod):
    """Settings of the method."""

    weight: float = 1.0
    """Weight of the retained answers, 0 or more."""

    name: ClassVar[str] = "grad_diff"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        super().__post_init__()
        check_ranges(self, at_least_0=("weight",))

    def objective(self) -> Objective:
        """What is made small."""
        return Objective(ascent, weight=self.weight)
