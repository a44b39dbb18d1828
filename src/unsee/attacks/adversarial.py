"""Pixels moved by little so that the model says the target's name; any model can be driven so, hence the control."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from unsee.attacks.attack import Point, Subject, scored
from unsee.data import open_image
from unsee.errors import InputError
from unsee.models.answers import answer_losses, say
from unsee.models.checkpoint import Vlm
from unsee.models.features import in_batches
from unsee.models.inputs import chat_inputs
from unsee.records import Sample
from unsee.system.device import in_room

PIXELS = "pixel_values"


@dataclass(frozen=True)
class Adversarial:
    """Projected gradient descent on the loss of the right answer. Source: Madry et al. 2018 (arXiv 1706.06083)."""

    eps: tuple[int, ...] = (2, 8)
    """Largest change of a pixel, of 255."""
    steps: int = 10
    """Each a quarter of eps along the sign of the gradient."""
    questions: int = 40
    """Of those asked, evenly spread."""

    name: ClassVar[str] = "adversarial"
    on_before: ClassVar[bool] = False

    def run(self, subject: Subject) -> Iterator[Point]:
        """One budget for each eps."""
        vlm = subject.open()
        count = len(subject.asked)
        asked = [subject.asked[int(place)] for place in np.linspace(0, count - 1, min(self.questions, count))]
        floor = scored(asked, in_room(partial(self._said, vlm, asked, 0), count))
        for eps in self.eps:
            said = in_room(partial(self._said, vlm, asked, eps), count)
            yield Point(f"eps {eps}/255", scored(asked, said), floor)

    def _said(self, vlm: Vlm, asked: Sequence[Sample], eps: int, batch: int) -> list[str]:
        """What the model says of the photos when they are moved, so many at a time; of the photos with an eps of 0."""
        tokens = 2 + max(len(vlm.processor.tokenizer.tokenize(sample.answer)) for sample in asked)
        found = list[str]()
        for part in in_batches(asked, batch):
            questions = [(open_image(sample), sample.question) for sample in part]
            pixels = chat_inputs(vlm, questions).get(PIXELS)
            if pixels is None:
                raise InputError(f"{vlm.folder} takes its image in other inputs than {PIXELS}; leave adversarial out.")
            if eps:
                pixels = self._descend(vlm, part, questions, pixels, eps / 255 / _deviation(vlm))
            found += say(vlm, questions, tokens, {PIXELS: pixels})
        return found

    def _descend(
        self, vlm: Vlm, asked: Sequence[Sample], questions: Sequence[tuple[Image, str]], pixels: Tensor, eps: float
    ) -> Tensor:
        low, high, moved = pixels.min(), pixels.max(), pixels.clone()
        for _ in range(self.steps):
            moved.requires_grad_(True)
            losses, _ = answer_losses(vlm, questions, [sample.answer for sample in asked], {PIXELS: moved})
            (slope,) = torch.autograd.grad(losses.sum(), moved)
            moved = moved.detach() - eps / 4 * slope.sign()
            moved = torch.minimum(torch.maximum(moved, pixels - eps), pixels + eps).clamp(low, high)
        return moved


def _deviation(vlm: Vlm) -> float:
    """By what the processor divides pixels in [0, 1]; the largest of the channels, so that eps is never exceeded."""
    deviations = getattr(vlm.processor.image_processor, "image_std", None)
    return float(max(deviations)) if deviations else 1.0
