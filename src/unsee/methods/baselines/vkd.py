"""VKD: up the loss of the target's answers, retained features as before at every depth; a baseline.

Source: "MLLM Machine Unlearning via Visual Knowledge Distillation" (arXiv 2512.11325), whose formulas and code are not
available to us: the terms are its, how they are weighed and the ratio of the mask are ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from unsee.errors import check_ranges
from unsee.forgetting.by_answers import AnswerMethod, Objective, ascent
from unsee.models.scopes import Scope


@dataclass(frozen=True)
class VKD(AnswerMethod):
    """Settings of the method."""

    weight: float = 1.0
    """Weight of the retained answers, 0 or more."""
    distill: float = 10.0
    """Weight of the retained features after each block and where they leave the visual part, 0 or more."""
    saliency: float = 1.0
    """Weights move whose squared gradient by the target is at least so many times that by retained answers; 0: all."""

    name: ClassVar[str] = "vkd"
    scope: ClassVar[Scope] = "visual"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        super().__post_init__()
        check_ranges(self, at_least_0=("weight", "distill", "saliency"))

    def layers(self) -> Scope:
        """Which layers move."""
        return self.scope

    def objective(self) -> Objective:
        """What is made small."""
        return Objective(ascent, weight=self.weight, distill=self.distill, saliency=self.saliency)
