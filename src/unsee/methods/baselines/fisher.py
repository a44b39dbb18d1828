"""Up the loss of the target's answers, in the vision encoder alone, held by the Fisher information; a baseline.

Source: the idea of AIM (arXiv 2608.28312: the encoder alone, no retained data in training, a Fisher constraint), whose
formulas are not available to us; the penalty is that of elastic weight consolidation (Kirkpatrick et al. 2017,
equation 3).
"""

from dataclasses import dataclass
from typing import ClassVar

from unsee.errors import check_ranges
from unsee.forgetting.by_answers import AnswerMethod, Objective, ascent
from unsee.models.scopes import Scope


@dataclass(frozen=True)
class Fisher(AnswerMethod):
    """Settings of the method."""

    fisher: float = 100.0
    """Weight of the squared change by the retained answers' Fisher information, above 0."""

    name: ClassVar[str] = "fisher"
    scope: ClassVar[Scope] = "encoder"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        super().__post_init__()
        check_ranges(self, above=("fisher",))

    def layers(self) -> Scope:
        """Which layers move."""
        return self.scope

    def objective(self) -> Objective:
        """What is made small."""
        return Objective(ascent, fisher=self.fisher)
