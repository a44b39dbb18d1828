"""Whether the model shows that it was trained on the request's photos: they beside photos it was not trained on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from unsee.attacks.attack import Point, Subject, Tally, needed
from unsee.data import open_image
from unsee.metrics import membership
from unsee.models.answers import answer_log_probabilities
from unsee.models.checkpoint import Vlm
from unsee.models.features import in_batches
from unsee.models.inputs import chat_inputs
from unsee.records import Sample
from unsee.system.device import in_room

PIXELS, BATCH, RATE = "pixel_values", 64, 0.01


@dataclass(frozen=True)
class Membership:
    """Scores of the right answer, by `unsee.metrics.membership`: the area under the curve, floor a half.

    gradient: the norm of the loss's gradient by the pixels, small for what was learnt.

    The curve is that of each concept's own photos, and the mean over concepts counts. tpr: members found by the loss at
    a rate of 1 % false alarms over all concepts, floor .01.
    """

    name: ClassVar[str] = "membership"
    on_before: ClassVar[bool] = True

    def run(self, subject: Subject) -> Iterator[Point]:
        """One budget for each score."""
        needed(subject.shown, "photos of the target with questions and answers", self.name)
        vlm = subject.open()
        inside, outside = (in_room(partial(_scores, vlm, side), BATCH) for side in (subject.shown, subject.asked))
        for label, values in inside.items():
            seen, new = _grouped(subject.shown, values), _grouped(subject.asked, outside[label])
            both = [concept for concept in seen if concept in new]
            got = {concept: (membership.separation(seen[concept], new[concept])[0], 1.0) for concept in both}
            yield Point(f"{label}, AUC", got, dict.fromkeys(both, (0.5, 1.0)))
        seen = _grouped(subject.shown, inside["loss"])
        found: Tally = {name: (membership.separation(own, outside["loss"], RATE)[1], 1.0) for name, own in seen.items()}
        yield Point("loss, tpr at 1 %", found, dict.fromkeys(found, (RATE, 1.0)))


def _grouped(samples: Sequence[Sample], values: Sequence[float]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for sample, value in zip(samples, values, strict=True):
        found.setdefault(sample.concept, []).append(value)
    return found


def _scores(vlm: Vlm, samples: Sequence[Sample], batch: int) -> Mapping[str, list[float]]:
    """One value for each sample, by the name of the score; higher for what the model has seen. So many at a time."""
    found: dict[str, list[float]] = {"loss": [], "min-k": [], "min-k++": [], "zlib": []}
    order = sorted(range(len(samples)), key=lambda place: len(samples[place].question))
    for places in in_batches(order, batch):
        chosen = [samples[place] for place in places]
        questions = [(open_image(sample), sample.question) for sample in chosen]
        pixels = chat_inputs(vlm, questions).get(PIXELS)
        moved = {} if pixels is None else {PIXELS: pixels.requires_grad_(True)}
        logs, ids, real = answer_log_probabilities(vlm, questions, [sample.answer for sample in chosen], moved)
        own = logs.gather(-1, ids[..., None])[..., 0]
        if pixels is not None and len(pixels) == len(chosen):  # else they are patches, and one image's are not apart
            (slope,) = torch.autograd.grad((own * real).sum(), pixels)
            norms = slope.flatten(1).norm(dim=1).tolist()
            found.setdefault("gradient", []).extend(membership.gradient([norm]) for norm in norms)
        for number, sample in enumerate(chosen):
            count = int(real[number].sum())
            _add(found, sample, logs[number, :count].detach(), own[number, :count].detach())
    back = {place: number for number, place in enumerate(order)}
    return {name: [values[back[place]] for place in range(len(samples))] for name, values in found.items()}


def _add(found: dict[str, list[float]], sample: Sample, logs: Tensor, own: Tensor) -> None:
    weights = logs.exp()
    means = (weights * logs).nan_to_num().sum(-1)
    deviations = ((weights * logs.square()).nan_to_num().sum(-1) - means.square()).clamp(min=0).sqrt()
    tokens = own.tolist()
    found["loss"].append(membership.loss(tokens))
    found["min-k"].append(membership.min_k(tokens))
    found["min-k++"].append(membership.min_k_plus(tokens, means.tolist(), deviations.tolist()))
    found["zlib"].append(membership.zlib_ratio(tokens, sample.answer))
