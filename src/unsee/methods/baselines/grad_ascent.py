"""Gradient ascent: up the loss of the target's answers and nothing else; a baseline.

Source: Jang et al. 2022 (arXiv 2210.01504), as TOFU uses it; with the model's own answers is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from unsee.forgetting.by_answers import Objective, ScopedAnswerMethod, ascent


@dataclass(frozen=True)
class GradAscent(ScopedAnswerMethod):
    """Settings of the method."""

    steps: int = 20
    """Training steps, 1 or more."""

    name: ClassVar[str] = "grad_ascent"

    def objective(self) -> Objective:
        """What is made small."""
        return Objective(ascent)
