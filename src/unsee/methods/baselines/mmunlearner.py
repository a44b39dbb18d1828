"""MMUnlearner: up the loss of the target's answers, down that of retained ones, salient weights alone; a baseline.

Source: Huo et al. 2025 (arXiv 2502.11051). Its text questions about the target have no place in a request of photos;
with the model's own answers is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from unsee.errors import check_ranges
from unsee.forgetting import by_answers
from unsee.forgetting.by_answers import Objective, ascent
from unsee.models.scopes import Scope


@dataclass(frozen=True)
class MMUnlearner:
    """Settings of the method."""

    scope: Scope = "visual"
    """Which layers move: visual, projector, language or all."""
    question: str = "Who is this?"
    """Asked about every photo; the model's own answers are what is forgotten and kept."""
    tokens: int = 16
    """Most tokens of an answer, 1 or more."""
    weight: float = 1.0
    """Weight of the retained answers, 0 or more."""
    saliency: float = 1.0
    """Weights move whose squared gradient by the target is at least so many times that by retained answers, above 0."""
    steps: int = 40
    """Training steps, 1 or more."""
    rate: float = 1e-4
    """Highest learning rate, above 0."""
    batch: int = 16
    """Target photos per step, 1 or more, and as many retained ones."""

    name: ClassVar[str] = "mmunlearner"
    language: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        check_ranges(self, above=("rate", "saliency"), at_least_0=("weight",), at_least_1=("tokens", "steps", "batch"))

    def objective(self) -> Objective:
        """What is made small."""
        return Objective(ascent, weight=self.weight, saliency=self.saliency)

    moment_settings = by_answers.moment_settings
    forget = by_answers.forget
