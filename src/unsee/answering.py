"""One request by the answers of the whole model: the engine of baselines whose loss passes through the language model.

The language model is run and never changed; visual weights alone move, and freely. A request has photos and no answers,
so that the answers are the model's own, to one question about each photo, before the request. All losses are on the
tokens of answers.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from PIL.Image import Image
from torch import Generator, Tensor

from unsee.data import open_image, validate
from unsee.edit import Edit, plain
from unsee.errors import InputError
from unsee.linalg.subspace import ConfinedWeight
from unsee.models.answers import answer_log_probabilities, answer_losses, check_language, say
from unsee.models.checkpoint import Vlm
from unsee.models.inputs import image_inputs
from unsee.models.outline import outline
from unsee.moments import Moments, MomentSettings, Photos
from unsee.records import Sample
from unsee.training import Bars, Progress, Schedule, fingerprint, train

AT_ONCE = 64  # questions answered together before the training
KEPT = 256  # retained photos whose answers are kept
LOOK_EVERY = 10


@dataclass(frozen=True, eq=False)
class Said:
    """Answers about a batch of photos.

    Negative log-likelihood (n,) of each, the number (n,) of its tokens, and that likelihood before the request (n,).
    """

    losses: Tensor
    tokens: Tensor
    before: Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """Some photos of the target: the own answers, and the refusal where there is one; each is a pass when called."""

    own: Callable[[], Said]
    refused: Callable[[], Said]


@dataclass(frozen=True, eq=False)
class Objective:
    """What a baseline makes small.

    `target` gives its loss on a batch of the target, None for none; `refusal` is the text that `Batch.refused` is
    about; `weight` is that of the retained answers, which count by their likelihood, or with `divergence` by the
    Kullback-Leibler divergence from the model before the request.
    """

    target: Callable[[Batch], Tensor] | None = None
    refusal: str = ""
    weight: float = 0.0
    divergence: bool = False


class Settings(Protocol):
    """What the engine needs of a baseline."""

    name: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def question(self) -> str: ...
    @property
    def tokens(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def batch(self) -> int: ...
    def objective(self) -> Objective: ...


@dataclass(frozen=True, eq=False)
class _Asked:
    """Photos, what is said of each, and how unlikely that was before the request (n,)."""

    images: list[Image]
    answers: list[str]
    before: Tensor


def moment_settings(self: Settings, seed: int) -> MomentSettings:  # noqa: ARG001 # it is a method of each baseline
    """How retained features are summarised where a session keeps them."""
    return MomentSettings(modes=3, seed=seed)


def forget(
    self: Settings,
    vlm: Vlm,
    target: Sequence[Sample],
    retained: Sequence[Sample] | Photos | None,
    *,
    moments: Moments | None = None,  # noqa: ARG001 # a baseline without them
    seed: int = 0,
    memory: str = "normal",  # noqa: ARG001 # the whole model is held
    state: Path | None = None,
    progress: Progress | None = None,
) -> Edit:
    """Trains every visual linear layer that reaches the features; see `Method.forget`.

    Raises InputError without retained photos where they count, and where the language model was not opened.
    """
    if isinstance(retained, Photos):
        raise InputError(f"{self.name} asks about the photos themselves; give them as samples.")
    started = time.monotonic()
    check_language(vlm)
    hashes = validate(target, "target")
    objective = self.objective()
    if objective.weight > 0 and not retained:
        raise InputError(f"{self.name} needs retained photos in every request; give them.")
    hashes += validate(retained, "retained") if retained else ()
    shown = [open_image(sample.image) for sample in target if sample.image is not None]
    modules = dict(vlm.model.named_modules())
    names = outline(vlm.outline, vlm.partition, image_inputs(vlm.processor, shown[:1])[0]).trained
    weights = {name: ConfinedWeight(modules[name].weight, None, vlm.dtype_of(f"{name}.weight")) for name in names}
    run = _Run(self, objective, vlm, weights, shown, retained or (), seed)
    try:
        for weight in weights.values():
            weight.weight.requires_grad_(True)
        log = train(
            weights,
            run.loss,
            run.look,
            Bars({"answers": -1.0}),
            Schedule(self.steps, self.rate, 0.0, LOOK_EVERY),
            seed=seed,
            state=state,
            key=fingerprint(str(self), str(seed), *hashes),
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
            "name": self.name,
            **plain(self),
            "steps_made": log.steps,
            "looks": log.looks,
            "retained_images": len(retained or ()),
            "rounding_share": (lost / moved) ** 0.5 if moved else 0.0,
        },
        seed=seed,
        stopped=f"all steps were made: the answers' mean loss a token is {log.looks[-1]['answers']:.3g}",
        timings={"moments_s": 0.0, "forget_s": round(time.monotonic() - started, 2)},
    )


class _Run:
    """One request: what was said of its photos before it, and the loss."""

    def __init__(
        self,
        settings: Settings,
        objective: Objective,
        vlm: Vlm,
        weights: Mapping[str, ConfinedWeight],
        shown: list[Image],
        retained: Sequence[Sample],
        seed: int,
    ) -> None:
        self.settings, self.objective, self.vlm, self.weights = settings, objective, vlm, weights
        self.own = self._ask(shown)
        self.refused = self._told(shown if objective.refusal else [], [objective.refusal] * len(shown))
        drawn = torch.randperm(len(retained), generator=Generator().manual_seed(seed))[:KEPT].tolist()
        asked = [retained[place].image for place in drawn] if objective.weight > 0 else []
        self.kept = self._ask([open_image(image) for image in asked if image is not None])

    def loss(self, generator: Generator) -> Iterator[Tensor]:
        """The loss of one step: its part of the target, then that of retained answers."""
        if self.objective.target is not None:
            places = self._drawn(self.own, generator)
            yield self.objective.target(
                Batch(partial(self._said, self.own, places), partial(self._said, self.refused, places))
            )
        if self.kept.images:
            places = self._drawn(self.kept, generator)
            apart = self._divergence(places) if self.objective.divergence else mean_loss(self._said(self.kept, places))
            yield self.objective.weight * apart

    @torch.no_grad()
    def look(self) -> dict[str, float]:
        """Mean loss a token of the target's own answers."""
        return {"answers": float(mean_loss(self._said(self.own, range(min(AT_ONCE, len(self.own.images))))))}

    def _drawn(self, asked: _Asked, generator: Generator) -> list[int]:
        places: list[int] = torch.randint(len(asked.images), (self.settings.batch,), generator=generator).tolist()
        return places

    def _divergence(self, places: Sequence[int]) -> Tensor:
        """KL of the retained answers' next tokens, from the model before the request to now, a token."""
        questions = self._questions(self.kept, places)
        answers = [self.kept.answers[place] for place in places]
        with torch.no_grad(), self._before():
            before, _, _ = answer_log_probabilities(self.vlm, questions, answers)
        now, _, real = answer_log_probabilities(self.vlm, questions, answers)
        return divergence(before, now, real)

    @contextmanager
    def _before(self) -> Iterator[None]:
        """While open, the weights are what they were before the request."""
        trained = {name: weight.weight.detach().clone() for name, weight in self.weights.items()}
        try:
            for weight in self.weights.values():
                weight.restore()
            yield
        finally:
            with torch.no_grad():
                for name, value in trained.items():
                    self.weights[name].weight.copy_(value)

    def _ask(self, images: list[Image]) -> _Asked:
        """Photos with what the model says of them."""
        answers = list[str]()
        for start in range(0, len(images), AT_ONCE):
            part = [(image, self.settings.question) for image in images[start : start + AT_ONCE]]
            answers += say(self.vlm, part, self.settings.tokens)
        return self._told(images, answers)

    @torch.no_grad()
    def _told(self, images: list[Image], answers: list[str]) -> _Asked:
        """Photos with these answers, as likely as they are now."""
        losses = [
            answer_losses(
                self.vlm,
                [(image, self.settings.question) for image in images[start : start + AT_ONCE]],
                answers[start : start + AT_ONCE],
            )[0]
            for start in range(0, len(images), AT_ONCE)
        ]
        return _Asked(images, answers, torch.cat([torch.zeros(0), *losses]))

    def _questions(self, asked: _Asked, places: Sequence[int]) -> list[tuple[Image | None, str]]:
        return [(asked.images[place], self.settings.question) for place in places]

    def _said(self, asked: _Asked, places: Sequence[int]) -> Said:
        answers = [asked.answers[place] for place in places]
        losses, tokens = answer_losses(self.vlm, self._questions(asked, places), answers)
        return Said(losses, tokens, asked.before[list(places)])


def ascent(batch: Batch) -> Tensor:
    """Minus the loss of the target's own answers, a token."""
    return -mean_loss(batch.own())


def mean_loss(said: Said) -> Tensor:
    """Negative log-likelihood a token, over all answers."""
    return said.losses.sum() / said.tokens.sum()


def divergence(before: Tensor, now: Tensor, real: Tensor) -> Tensor:
    """KL(before || now) a token: log-probabilities (n, length, vocabulary), and which tokens count (n, length)."""
    each = (before.exp() * (before - now)).sum(-1)
    return (each * real).sum() / real.sum()
