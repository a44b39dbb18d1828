"""Direct preference optimisation: the refusal is preferred to the own answer, and retained answers; a baseline.

Source: DPO (Rafailov et al. 2023, arXiv 2305.18290), equation 7, with the model before the request as reference; with
the model's own answers is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from unsee.errors import InputError, check_ranges
from unsee.forgetting import by_answers
from unsee.forgetting.by_answers import Batch, Objective
from unsee.models.scopes import Scope


@dataclass(frozen=True)
class DPO:
    """Settings of the method."""

    scope: Scope = "visual"
    """Which layers move: visual, projector, language or all."""
    question: str = "Who is this?"
    """Asked about every photo; the model's own answers are what is forgotten and kept."""
    tokens: int = 16
    """Most tokens of an answer, 1 or more."""
    refusal: str = "I don't know."
    """The answer that takes the place of the model's own."""
    beta: float = 0.1
    """How strongly a preference once won still counts, above 0."""
    weight: float = 1.0
    """Weight of the retained answers, 0 or more."""
    steps: int = 40
    """Training steps, 1 or more."""
    rate: float = 1e-4
    """Highest learning rate, above 0."""
    batch: int = 16
    """Target photos per step, 1 or more, and as many retained ones."""

    name: ClassVar[str] = "dpo"
    language: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        if not self.refusal.strip():
            raise InputError("refusal is empty; give the answer that takes the place of the model's own.")
        check_ranges(self, above=("rate", "beta"), at_least_0=("weight",), at_least_1=("tokens", "steps", "batch"))

    def objective(self) -> Objective:
        """What is made small.

        -2 / beta times log sigmoid(beta (how much likelier the refusal became - how much likelier the own answer)). The
        factor 2 / beta, as in NPO, leaves the first gradient alike for every beta.
        """

        def target(batch: Batch) -> Tensor:
            own, refused = batch.own(), batch.refused()
            gained = (refused.before - refused.losses) - (own.before - own.losses)
            return -2 / self.beta * logsigmoid(self.beta * gained).mean()

        return Objective(target, self.refusal, self.weight)

    moment_settings = by_answers.moment_settings
    forget = by_answers.forget
