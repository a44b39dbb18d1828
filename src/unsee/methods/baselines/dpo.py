"""Direct preference optimisation: the refusal is preferred to the own answer, and retained answers; a baseline.

Source: DPO (Rafailov et al. 2023, arXiv 2305.18290), equation 7, with the model before the request as reference; with
the model's own answers is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

from unsee.errors import check_ranges
from unsee.forgetting.by_answers import Batch, Objective, ScopedAnswerMethod, check_refusal


@dataclass(frozen=True)
class DPO(ScopedAnswerMethod):
    """Settings of the method."""

    refusal: str = "I don't know."
    """The answer that takes the place of the model's own."""
    beta: float = 0.1
    """How strongly a preference once won still counts, above 0."""
    weight: float = 1.0
    """Weight of the retained answers, 0 or more."""

    name: ClassVar[str] = "dpo"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        super().__post_init__()
        check_refusal(self.refusal)
        check_ranges(self, above=("beta",), at_least_0=("weight",))

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
