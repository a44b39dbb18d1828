"""GradDiff: up the loss of the target's answers, down that of retained ones; a baseline.

Source: gradient difference, Liu et al. 2022 (arXiv 2203.12817), as TOFU (arXiv 2401.06121) uses it; of visual weights
alone, and with the model's own answers, is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from unsee.answering import answering
from unsee.edit import Edit
from unsee.errors import InputError, check_ranges
from unsee.models.checkpoint import Vlm
from unsee.moments import Moments, MomentSettings, Photos
from unsee.records import Sample
from unsee.training import Progress


@dataclass(frozen=True)
class GradDiff:
    """Settings of the method."""

    question: str = "Who is this?"
    """Asked about every photo; the model's own answers are what is forgotten and kept."""
    tokens: int = 16
    """Most tokens of an answer, 1 or more."""
    retain: float = 1.0
    """Weight of the retained answers, 0 or more."""
    steps: int = 40
    """Training steps, 1 or more."""
    rate: float = 1e-4
    """Highest learning rate, above 0."""
    batch: int = 16
    """Target photos per step, 1 or more, and as many retained ones."""

    name: ClassVar[str] = "grad_diff"
    language: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        check_ranges(self, above=("rate",), at_least_0=("retain",), at_least_1=("tokens", "steps", "batch"))

    def moment_settings(self, seed: int) -> MomentSettings:
        """How retained features are summarised where a session keeps them."""
        return MomentSettings(modes=3, seed=seed)

    def forget(
        self,
        vlm: Vlm,
        target: Sequence[Sample],
        retained: Sequence[Sample] | Photos | None,
        *,
        moments: Moments | None = None,  # noqa: ARG002 # a baseline without them
        seed: int = 0,
        memory: str = "normal",  # noqa: ARG002 # the whole model is held
        state: Path | None = None,
        progress: Progress | None = None,
    ) -> Edit:
        """Forgets what is on the target images; see `Method.forget`. Retained images as samples."""
        if isinstance(retained, Photos):
            raise InputError(f"{self.name} asks about the photos themselves; give them as samples.")
        return answering(self, vlm, target, retained, _ascent, seed=seed, state=state, progress=progress)


def _ascent(losses: Tensor, tokens: Tensor, before: Tensor) -> Tensor:  # noqa: ARG001 # the signature is given
    return -losses.sum() / tokens.sum()
