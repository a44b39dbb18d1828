"""MMUnlearner: up the loss of the target's answers, down that of retained ones, salient weights alone; a baseline.

Source: Huo et al. 2025 (arXiv 2502.11051). Its text questions about the target have no place in a request of photos;
with the model's own answers is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from unsee.errors import check_ranges
from unsee.forgetting.by_answers import Objective, ScopedAnswerMethod, ascent


@dataclass(frozen=True)
class MMUnlearner(ScopedAnswerMethod):
    """Settings of the method."""

    weight: float = 1.0
    """Weight of the retained answers, 0 or more."""
    saliency: float = 1.0
    """Weights move whose squared gradient by the target is at least so many times that by retained answers, above 0."""

    name: ClassVar[str] = "mmunlearner"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        super().__post_init__()
        check_ranges(self, above=("saliency",), at_least_0=("weight",))

    def objective(self) -> Objective:
        """What is made small."""
        return Objective(ascent, weight=self.weight, saliency=self.saliency)
