"""Up the loss of the target's answers, in the vision encoder alone, held by the Fisher information; a baseline.

Source: the idea of AIM (arXiv 2608.28312: the encoder alone, no retained data in training, a Fisher constraint), whose
formulas are not available to us; the penalty is that of elastic weight consolidation (Kirkpatrick et al. 2017,
equation 3).
"""

from dataclasses import dataclass
from typing import ClassVar

from unsee.errors import check_ranges
from unsee.forgetting import by_answers
from unsee.forgetting.by_answers import Objective, ascent
from unsee.models.scopes import Scope


@dataclass(frozen=True)
class Fisher:
    """Settings of the method."""

    question: str = "Who is this?"
    """Asked about every photo; the model's own answers are what is forgotten and kept."""
    tokens: int = 16
    """Most tokens of an answer, 1 or more."""
    fisher: float = 100.0
    """Weight of the squared change by the retained answers' Fisher information, above 0."""
    steps: int = 40
    """Training steps, 1 or more."""
    rate: float = 1e-4
    """Highest learning rate, above 0."""
    batch: int = 16
    """Target photos per step, 1 or more."""

    name: ClassVar[str] = "fisher"
    language: ClassVar[bool] = True
    scope: ClassVar[Scope] = "encoder"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        check_ranges(self, above=("rate", "fisher"), at_least_1=("tokens", "steps", "batch"))

    def objective(self) -> Objective:
        """What is made small."""
        return Objective(ascent, fisher=self.fisher)

    moment_settings = by_answers.moment_settings
    forget = by_answers.forget
