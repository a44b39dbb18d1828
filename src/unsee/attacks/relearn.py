"""Fine-tuning on a few of the target's photos with the right answers, measured on photos that it did not see."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator

from unsee.attacks.attack import Point, Subject, needed, right
from unsee.data import open_image
from unsee.models.answers import answer_losses
from unsee.models.checkpoint import Vlm
from unsee.models.inputs import image_inputs
from unsee.models.scopes import Scope, scope_layers
from unsee.models.weights import in_float32
from unsee.records import Sample


@dataclass(frozen=True)
class Relearn:
    """AdamW down the loss of right answers. Source: relearning attacks, as in Hu et al. 2024 (arXiv 2406.13356)."""

    shares: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2)
    """Of the request's photos, drawn from all concepts; one photo at least."""
    scopes: tuple[Scope, ...] = ("visual", "all")
    """What is tuned: the visual part alone, or the language model as well."""
    steps: int = 30
    batch: int = 16
    rate: float = 3e-4

    name: ClassVar[str] = "relearn"
    on_before: ClassVar[bool] = False

    def run(self, subject: Subject) -> Iterator[Point]:
        """One training for each share and scope, each from the checkpoint."""
        needed(subject.shown, "photos of the target with questions and answers", self.name)
        photos = list({sample.picture: None for sample in subject.shown})
        order = torch.randperm(len(photos), generator=Generator().manual_seed(subject.seed)).tolist()
        for scope in self.scopes:
            for share in self.shares:
                count = max(1, round(share * len(photos)))
                given = {photos[place] for place in order[:count]}
                vlm = subject.open()
                with in_float32(vlm.model):
                    self._tune(vlm, [s for s in subject.shown if s.picture in given], scope, subject.seed)
                label = f"{share:.0%}, {scope}"
                yield Point(label, right(vlm, subject.asked), subject.plain)

    def _tune(self, vlm: Vlm, known: list[Sample], scope: Scope, seed: int) -> None:
        pictures = {sample.picture: open_image(sample) for sample in known}
        first = image_inputs(vlm.processor, [next(iter(pictures.values()))])[0]
        modules = dict(vlm.model.named_modules())
        weights = [modules[name].weight.requires_grad_(True) for name in scope_layers(vlm, scope, first)]
        optimizer = torch.optim.AdamW(weights, lr=self.rate, weight_decay=0.0)
        generator = Generator().manual_seed(seed)
        for _ in range(self.steps):
            drawn = torch.randint(len(known), (self.batch,), generator=generator).tolist()
            chosen = [known[place] for place in drawn]
            questions = [(pictures[sample.picture], sample.question) for sample in chosen]
            losses, tokens = answer_losses(vlm, questions, [sample.answer for sample in chosen])
            optimizer.zero_grad()
            (losses.sum() / tokens.sum()).backward()
            optimizer.step()
        for weight in weights:
            weight.requires_grad_(False)
