"""KL minimisation: up the loss of the target's answers, retained answers as likely as before; a baseline.

Source: TOFU (Maini et al. 2024, arXiv 2401.06121), section 4; with the model's own answers is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from unsee.errors import check_ranges
from unsee.forgetting.by_answers import Objective, ScopedAnswerMethod, ascent


@dataclass(frozen=True)
class KL(ScopedAnswerMethod):
    """Settings of the method."""

    weight: float = 1.0
    """Weight of the retained answers, 0 or more."""

    name: ClassVar[str] = "kl"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        super().__post_init__()
        check_ranges(self, at_least_0=("weight",))

    def objective(self) -> Objective:
        """What is made small."""
        return Objective(ascent, weight=self.weight, divergence=True)
