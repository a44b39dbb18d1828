"""Gradient ascent: up the loss of the target's answers and nothing else; a baseline.

Source: Jang et al. 2022 (arXiv 2210.01504), as TOFU uses it; with the model's own answers is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from unsee.errors import check_ranges
from unsee.forgetting import by_answers
from unsee.forgetting.by_answers import Objective, ascent
from unsee.models.scopes import Scope


@dataclass(frozen=True)
class GradAscent:
    """Settings of the method."""

    scope: Scope = "visual"
    """Which layers move: visual, projector, language or all."""
    question: str = "Who is this?"
    """Asked about every photo; the model's own answers are what is forgotten and kept."""
    tokens: int = 16
    """Most tokens of an answer, 1 or more."""
    steps: int = 20
    """Training steps, 1 or more."""
    rate: float = 1e-4
    """Highest learning rate, above 0."""
    batch: int = 16
    """Target photos per step, 1 or more."""

    name: ClassVar[str] = "grad_ascent"
    language: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        check_ranges(self, above=("rate",), at_least_1=("tokens", "steps", "batch"))

    def objective(self) -> Objective:
        """What is made small."""
        return Objective(ascent)

    moment_settings = by_answers.moment_settings
    forget = by_answers.forget
