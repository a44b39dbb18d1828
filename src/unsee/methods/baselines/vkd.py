"""VKD: up the loss of the target's answers, retained features as before at every depth; a baseline.

Source: "MLLM Machine Unlearning via Visual Knowledge Distillation" (arXiv 2512.11325), whose formulas and code are not
available to us: the terms are its, how they are weighed and the ratio of the mask are ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from unsee.errors import check_ranges
from unsee.forgetting import by_answers
from unsee.forgetting.by_answers import Objective, ascent
from unsee.models.scopes import Scope


@dataclass(frozen=True)
class VKD:
    """Settings of the method."""

    question: str = "Who is this?"
    """Asked about every photo; the model's own answers are what is forgotten and kept."""
    tokens: int = 16
    """Most tokens of an answer, 1 or more."""
    weight: float = 1.0
    """Weight of the retained answers, 0 or more."""
    distill: float = 10.0
    """Weight of the retained features after each block and where they leave the visual part, 0 or more."""
    saliency: float = 1.0
    """Weights move whose squared gradient by the target is at least so many times that by retained answers; 0: all."""
    steps: int = 40
    """Training steps, 1 or more."""
    rate: float = 1e-4
    """Highest learning rate, above 0."""
    batch: int = 16
    """Target photos per step, 1 or more, and as many retained ones."""

    name: ClassVar[str] = "vkd"
    language: ClassVar[bool] = True
    scope: ClassVar[Scope] = "visual"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        check_ranges(
            self,
            above=("rate",),
            at_least_0=("weight", "distill", "saliency"),
            at_least_1=("tokens", "steps", "batch"),
        )

    def objective(self) -> Objective:
        """What is made small."""
        return Objective(ascent, weight=self.weight, distill=self.distill, saliency=self.saliency)

    moment_settings = by_answers.moment_settings
    forget = by_answers.forget
