"""NPO: negative preference optimisation against the model before the request, and retained answers; a baseline.

Source: Zhang et al. 2024 (arXiv 2404.05868), equation 3; with the model's own answers is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from unsee.errors import check_ranges
from unsee.forgetting.by_answers import Batch, Objective, ScopedAnswerMethod


@dataclass(frozen=True)
class NPO(ScopedAnswerMethod):
    """Settings of the method."""

    beta: float = 0.1
    """How soon an answer that has become unlikely is let be, above 0."""
    weight: float = 1.0
    """Weight of the retained answers, 0 or more."""

    name: ClassVar[str] = "npo"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        super().__post_init__()
        check_ranges(self, above=("beta",), at_least_0=("weight",))

    def objective(self) -> Objective:
        """What is made small: -2 / beta times log sigmoid(beta (loss now - loss before)), the mean over answers."""

        def target(batch: Batch) -> Tensor:
            own = batch.own()
            return -2 / self.beta * logsigmoid(self.beta * (own.losses - own.before)).mean()

        return Objective(target, weight=self.weight)
