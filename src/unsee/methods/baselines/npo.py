"""NPO: negative preference optimisation against the model before the request, and retained answers; a baseline.

Source: Zhang et al. 2024 (arXiv 2404.05868), equation 3; with the model's own answers is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from unsee.errors import check_ranges
from unsee.forgetting import by_answers
from unsee.forgetting.by_answers import Batch, Objective
from unsee.models.scopes import Scope


@dataclass(frozen=True)
class NPO:
    """Settings of the method."""

    scope: Scope = "visual"
    """Which layers move: visual, projector, language or all."""
    question: str = "Who is this?"
    """Asked about every photo; the model's own answers are what is forgotten and kept."""
    tokens: int = 16
    """Most tokens of an answer, 1 or more."""
    beta: float = 0.1
    """How soon an answer that has become unlikely is let be, above 0."""
    weight: float = 1.0
    """Weight of the retained answers, 0 or more."""
    steps: int = 40
    """Training steps, 1 or more."""
    rate: float = 1e-4
    """Highest learning rate, above 0."""
    batch: int = 16
    """Target photos per step, 1 or more, and as many retained ones."""

    name: ClassVar[str] = "npo"
    language: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        check_ranges(self, above=("rate", "beta"), at_least_0=("weight",), at_least_1=("tokens", "steps", "batch"))

    def objective(self) -> Objective:
        """What is made small: -2 / beta times log sigmoid(beta (loss now - loss before)), the mean over answers."""

        def target(batch: Batch) -> Tensor:
            own = batch.own()
            return -2 / self.beta * logsigmoid(self.beta * (own.losses - own.before)).mean()

        return Objective(target, weight=self.weight)

    moment_settings = by_answers.moment_settings
    forget = by_answers.forget
