"""Preference optimisation towards a refusal, and retained answers; a baseline.

Source: TOFU (Maini et al. 2024, arXiv 2401.06121), section 4, called IdkPO there; with the model's own answers is
ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from unsee.errors import check_ranges
from unsee.forgetting.by_answers import Objective, ScopedAnswerMethod, check_refusal, mean_loss


@dataclass(frozen=True)
class PO(ScopedAnswerMethod):
    """Settings of the method."""

    refusal: str = "I don't know."
    """The answer that takes the place of the model's own."""
    weight: float = 1.0
    """Weight of the retained answers, 0 or more."""

    name: ClassVar[str] = "po"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        super().__post_init__()
        check_refusal(self.refusal)
        check_ranges(self, at_least_0=("weight",))

    def objective(self) -> Objective:
        """What is made small: the loss of the refusal, a token."""
        return Objective(lambda batch: mean_loss(batch.refused()), self.refusal, self.weight)
