"""Preference optimisation towards a refusal, and retained answers; a baseline.

Source: TOFU (Maini et al. 2024, arXiv 2401.06121), section 4, called IdkPO there; with the model's own answers is
ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from unsee.errors import InputError, check_ranges
from unsee.forgetting import by_answers
from unsee.forgetting.by_answers import Objective, mean_loss
from unsee.models.scopes import Scope


@dataclass(frozen=True)
class PO:
    """Settings of the method."""

    scope: Scope = "visual"
    """Which layers move: visual, projector, language or all."""
    question: str = "Who is this?"
    """Asked about every photo; the model's own answers are what is forgotten and kept."""
    tokens: int = 16
    """Most tokens of an answer, 1 or more."""
    refusal: str = "I don't know."
    """The answer that takes the place of the model's own."""
    weight: float = 1.0
    """Weight of the retained answers, 0 or more."""
    steps: int = 40
    """Training steps, 1 or more."""
    rate: float = 1e-4
    """Highest learning rate, above 0."""
    batch: int = 16
    """Target photos per step, 1 or more, and as many retained ones."""

    name: ClassVar[str] = "po"
    language: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        if not self.refusal.strip():
            raise InputError("refusal is empty; give the answer that takes the place of the model's own.")
        check_ranges(self, above=("rate",), at_least_0=("weight",), at_least_1=("tokens", "steps", "batch"))

    def objective(self) -> Objective:
        """What is made small: the loss of the refusal, a token."""
        return Objective(lambda batch: mean_loss(batch.refused()), self.refusal, self.weight)

    moment_settings = by_answers.moment_settings
    forget = by_answers.forget
