"""SIU: a refusal about a single image of each concept, held by the dual masked KL divergence; a baseline.

Source: Li et al. 2024 (arXiv 2405.12523). Of its four kinds of fine-tuning data, which a language model writes, a
request of photos allows the first alone: the target as someone unknown. The form of the masks is our reading.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from unsee.errors import check_ranges
from unsee.forgetting.by_answers import Apart, Batch, Objective, ScopedAnswerMethod, check_refusal
from unsee.forgetting.edit import Edit
from unsee.models.checkpoint import Vlm
from unsee.moments.records import Photos
from unsee.records import Sample


@dataclass(frozen=True)
class SIU(ScopedAnswerMethod):
    """Settings of the method."""

    refusal: str = "I don't know."
    """The answer that takes the place of the model's own."""
    images: int = 1
    """Photos of each concept that are used, the first ones, 1 or more."""
    masked: float = 1.0
    """Weight of the dual masked divergence on the refusal, 0 or more."""
    weight: float = 1.0
    """Weight of the retained answers' divergence, 0 or more."""

    name: ClassVar[str] = "siu"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        super().__post_init__()
        check_refusal(self.refusal)
        check_ranges(self, at_least_0=("masked", "weight"), at_least_1=("images",))

    def objective(self) -> Objective:
        """What is made small."""

        def target(batch: Batch) -> Tensor:
            apart = batch.apart()
            likely = apart.now.gather(-1, apart.tokens[..., None])[..., 0]
            return -(likely * apart.real).sum() / apart.real.sum() + self.masked * dual_masked(apart)

        return Objective(target, self.refusal, self.weight, divergence=True)

    def forget(
        self, vlm: Vlm, target: Sequence[Sample], retained: Sequence[Sample] | Photos | None, **given: Any
    ) -> Edit:
        """Forgets by the first photos of each concept; see `Method.forget`."""
        taken: dict[str, list[Sample]] = {}
        for sample in target:
            taken.setdefault(sample.concept, []).append(sample)
        first = [sample for own in taken.values() for sample in own[: self.images]]
        return super().forget(vlm, first, retained, **given)


def dual_masked(apart: Apart) -> Tensor:
    """KL from before to now, a token of the refusal that the model before would have said there (0 without one).

    Of the vocabulary, the tokens of the own answer are left out, and the others share their probability: the refusal
    contradicts these alone.
    """
    before, now = (side.masked_fill(apart.named[:, None], -1e9).log_softmax(-1) for side in (apart.before, apart.now))
    agreed = (apart.before.argmax(-1) == apart.tokens) & (apart.real > 0)
    each = (before.exp() * (before - now)).sum(-1)
    return (each * agreed).sum() / agreed.sum().clamp(min=1)
