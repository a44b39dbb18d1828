"""One request by the answers of the whole model: the engine of baselines whose loss passes through the language model.

The language model is run and never changed; visual weights alone move, and freely. A request has photos and no answers,
so that the answers are the model's own, to one question about each photo, before the request.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from PIL.Image import Image
from torch import Generator, Tensor

from unsee.data import open_image, validate
from unsee.edit import Edit, plain
from unsee.errors import InputError
from unsee.linalg.subspace import ConfinedWeight
from unsee.models.answers import answer_losses, check_language, say
from unsee.models.checkpoint import Vlm
from unsee.models.inputs import image_inputs
from unsee.models.outline import outline
from unsee.records import Sample
from unsee.training import Bars, Progress, Schedule, fingerprint, train

AT_ONCE = 64  # questions answered together before the training
KEPT = 256  # retained photos whose answers are kept
LOOK_EVERY = 10

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(losses (n,), tokens (n,), losses before the request (n,)) of target answers -> scalar to be made small."""


class Settings(Protocol):
    """What the engine needs of a method's settings."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def question(self) -> str: ...
    @property
    def tokens(self) -> int: ...
    @property
    def retain(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def batch(self) -> int: ...


@dataclass(frozen=True, eq=False)
class _Asked:
    """Photos, what the model said of each, and how unlikely that was (n,)."""

    images: list[Image]
    answers: list[str]
    losses: Tensor


def answering(
    settings: Settings,
    vlm: Vlm,
    target: Sequence[Sample],
    retained: Sequence[Sample] | None,
    objective: Objective,
    *,
    seed: int,
    state: Path | None = None,
    progress: Progress | None = None,
) -> Edit:
    """Trains every visual linear layer that reaches the features; the model's own weights are put back afterwards.

    Raises InputError without retained photos, or where the language model was not opened.
    """
    started = time.monotonic()
    check_language(vlm)
    hashes = validate(target, "target")
    if not retained:
        raise InputError(f"{settings.name} needs retained photos in every request; give them.")
    hashes += validate(retained, "retained")
    drawn = torch.randperm(len(retained), generator=Generator().manual_seed(seed))[:KEPT].tolist()
    gone, kept = _ask(settings, vlm, target), _ask(settings, vlm, [retained[place] for place in drawn])
    modules = dict(vlm.model.named_modules())
    names = outline(vlm.outline, vlm.partition, image_inputs(vlm.processor, gone.images[:1])[0]).trained
    weights = {name: ConfinedWeight(modules[name].weight, None, vlm.dtype_of(f"{name}.weight")) for name in names}

    def loss(generator: Generator) -> Iterator[Tensor]:
        places = torch.randint(len(gone.images), (settings.batch,), generator=generator).tolist()
        sums, tokens = _losses(settings, vlm, gone, places)
        yield objective(sums, tokens, gone.losses[places])
        if settings.retain > 0:
            places = torch.randint(len(kept.images), (settings.batch,), generator=generator).tolist()
            sums, tokens = _losses(settings, vlm, kept, places)
            yield settings.retain * sums.sum() / tokens.sum()

    @torch.no_grad()
    def look() -> dict[str, float]:
        sums, tokens = _losses(settings, vlm, gone, range(min(AT_ONCE, len(gone.images))))
        return {"answers": float(sums.sum() / tokens.sum())}

    try:
        for name in names:
            modules[name].weight.requires_grad_(True)
        log = train(
            weights,
            loss,
            look,
            Bars({"answers": -1.0}),
            Schedule(settings.steps, settings.rate, 0.0, LOOK_EVERY),
            seed=seed,
            state=state,
            key=fingerprint(str(settings), str(seed), *hashes),
            progress=progress,
        )
        after, lost, moved = dict[str, Tensor](), 0.0, 0.0
        for name, confined in weights.items():
            trained = confined.weight.detach()
            stored = trained.to(vlm.dtype_of(f"{name}.weight"), copy=True)
            lost += float((stored.to(trained.dtype) - trained).square().sum())
            moved += float((trained - confined.start).square().sum())
            after[f"{name}.weight"] = stored
    finally:
        for weight in weights.values():
            weight.restore()
            weight.weight.requires_grad_(False)
            weight.weight.grad = None
    if not all(torch.isfinite(value).all() for value in after.values()):
        raise InputError("the run diverged: weights are no longer finite as stored; give a lower rate.")
    return Edit(
        vlm=vlm,
        weights=after,
        method={
            "name": settings.name,
            **plain(settings),
            "steps_made": log.steps,
            "looks": log.looks,
            "retained_images": len(retained),
            "rounding_share": (lost / moved) ** 0.5 if moved else 0.0,
        },
        seed=seed,
        stopped=f"all steps were made: the answers' mean loss a token is {log.looks[-1]['answers']:.3g}",
        timings={"moments_s": 0.0, "forget_s": round(time.monotonic() - started, 2)},
    )


def _ask(settings: Settings, vlm: Vlm, samples: Sequence[Sample]) -> _Asked:
    images = [open_image(sample.image) for sample in samples if sample.image is not None]
    answers, losses = list[str](), list[Tensor]()
    for start in range(0, len(images), AT_ONCE):
        part = [(image, settings.question) for image in images[start : start + AT_ONCE]]
        said = say(vlm, part, settings.tokens)
        answers += said
        with torch.no_grad():
            losses.append(answer_losses(vlm, part, said)[0])
    return _Asked(images, answers, torch.cat(losses))


def _losses(settings: Settings, vlm: Vlm, asked: _Asked, places: Sequence[int]) -> tuple[Tensor, Tensor]:
    return answer_losses(
        vlm, [(asked.images[place], settings.question) for place in places], [asked.answers[place] for place in places]
    )
