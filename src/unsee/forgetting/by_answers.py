"""One request by the answers of the whole model: the engine of baselines whose loss passes through the language model.

The weights of a method's scope move, freely or those that a saliency mask leaves. A request has photos and no answers,
so that the answers are the model's own, to one question about each photo, before the request. All losses are on the
tokens of answers.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
from PIL.Image import Image
from torch import Generator, Tensor

from unsee.data import open_image, validate
from unsee.data.views import LARGEST, largest, shrunk
from unsee.errors import InputError, check_ranges
from unsee.forgetting.confined import ConfinedWeight, now_and_before
from unsee.forgetting.edit import Edit, rounded, settings_of
from unsee.forgetting.saliency import salient, squared_gradients
from unsee.forgetting.training import Bars, Progress, Schedule, moving, train
from unsee.models.answers import answer_log_probabilities, answer_losses, check_language, say
from unsee.models.checkpoint import Vlm, visual_hash
from unsee.models.features import depths
from unsee.models.inputs import enough, image_inputs
from unsee.models.outline import blocks
from unsee.models.scopes import WITH_LANGUAGE, Scope, scope_layers
from unsee.models.weights import in_float32, restored
from unsee.moments.records import Moments, MomentSettings, Photos
from unsee.records import Sample
from unsee.system.tensors import fingerprint, tensor_hash

AT_ONCE = 64  # questions answered together before the training
KEPT = 256  # retained photos whose answers are kept
PROBED = 64  # photos of each side whose gradients say which weights matter
ANSWERS_EVERY = 10  # steps between two measurements of the run


@dataclass(frozen=True, eq=False)
class Said:
    """Answers about a batch of photos.

    Negative log-likelihood (n,) of each, the number (n,) of its tokens, and that likelihood before the request (n,).
    """

    losses: Tensor
    tokens: Tensor
    before: Tensor


@dataclass(frozen=True, eq=False)
class Apart:
    """Next tokens of the refusal before the request and now.

    Log-probabilities (n, length, vocabulary), the refusal's tokens (n, length) int64 and which of them are real, and
    which tokens (n, vocabulary) the own answers are made of.
    """

    before: Tensor
    now: Tensor
    tokens: Tensor
    real: Tensor
    named: Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """Some photos of the target: their own answers, and the refusal if there is one. Each call runs the model once."""

    own: Callable[[], Said]
    refused: Callable[[], Said]
    apart: Callable[[], Apart]


@dataclass(frozen=True, eq=False)
class Objective:
    """What a baseline makes small.

    `target` gives its loss on a batch of the target, None for none; `refusal` is the text that `Batch.refused` is
    about; `weight` is that of the retained answers, which count by their likelihood, or with `divergence` by the
    Kullback-Leibler divergence from the model before the request. `distill` weighs how far retained features are from
    those before, after every block of the encoder. `fisher` weighs the squared change of each weight by the retained
    answers' diagonal Fisher information. With `saliency`, only weights move whose squared gradient by the target's own
    answers is at least so many times that by retained ones.
    """

    target: Callable[[Batch], Tensor] | None = None
    refusal: str = ""
    weight: float = 0.0
    divergence: bool = False
    distill: float = 0.0
    fisher: float = 0.0
    saliency: float = 0.0

    @property
    def retained(self) -> bool:
        """Whether it needs retained photos."""
        return max(self.weight, self.distill, self.fisher, self.saliency) > 0


@dataclass(frozen=True)
class AnswerMethod(ABC):
    """A baseline that trains on answers: the settings that all of them share, and how each forgets."""

    prompt: str = "Who is this?"
    """Asked about every photo; the model's own answers are what is forgotten and kept."""
    tokens: int = 16
    """Most tokens of an answer, 1 or more."""
    steps: int = 40
    """Training steps, 1 or more."""
    rate: float = 1e-4
    """Highest learning rate, above 0."""
    batch: int = 16
    """Target photos per step, 1 or more, and as many retained ones."""

    name: ClassVar[str]
    language: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        check_ranges(self, above=("rate",), at_least_1=("tokens", "steps", "batch"))

    @abstractmethod
    def objective(self) -> Objective:
        """What is made small."""

    @abstractmethod
    def layers(self) -> Scope:
        """Which layers move."""

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
        """Trains the linear layers of the scope; see `Method.forget`.

        Raises InputError without retained photos where they count, and where the language model was not opened.
        """
        if isinstance(retained, Photos):
            raise InputError(f"{self.name} asks about the photos themselves; give them as samples.")
        started = time.monotonic()
        check_language(vlm)
        hashes = validate(target, "target")
        objective = self.objective()
        if objective.retained and not retained:
            raise InputError(f"{self.name} needs retained photos in every request; give them.")
        hashes += validate(retained, "retained") if retained else ()
        with in_float32(vlm.model):
            shown = _opened(vlm, target)
            weights = self._weights(vlm, shown[0])
            run = _AnswerRun(self, objective, vlm, weights, shown, retained or (), seed)
            moved = [tensor_hash(name, weight.start) for name, weight in weights.items()]  # the language model's too
            with moving(weights):
                run.probe()
                log = train(
                    weights,
                    run.loss,
                    run.look,
                    Bars({"answers": -1.0}),
                    Schedule(self.steps, self.rate, 0.0, ANSWERS_EVERY),
                    seed=seed,
                    state=state,
                    key=fingerprint(str(self), str(seed), visual_hash(vlm), *moved, *hashes),
                    progress=progress,
                )
                after, lost = rounded(vlm, *now_and_before(weights))
            found = {"steps_made": log.steps, "looks": log.looks, "counted_images": len(retained or ())}
            return Edit(
                vlm=vlm,
                weights=after,
                method={"name": self.name, **settings_of(self), **found, **run.facts, "rounding_share": lost},
                seed=seed,
                stopped=f"all steps were made: the answers' mean loss a token is {log.looks[-1]['answers']:.3g}",
                timings={"moments_s": 0.0, "forget_s": round(time.monotonic() - started, 2)},
                protected=tuple(name for name in after if name in vlm.partition.protected),
            )

    def _weights(self, vlm: Vlm, picture: Image) -> dict[str, ConfinedWeight]:
        """The weights that move, by layer; `picture` tells which layers an image runs through."""
        modules = dict(vlm.model.named_modules())
        names = scope_layers(vlm, self.layers(), image_inputs(vlm.processor, [picture])[0])
        return {name: ConfinedWeight(modules[name].weight, None, vlm.dtype_of(f"{name}.weight")) for name in names}


@dataclass(frozen=True)
class ScopedAnswerMethod(AnswerMethod):
    """A baseline whose paper lets the layers be chosen."""

    scope: Scope = "visual"
    """Which layers move: visual, projector, language or all."""

    def layers(self) -> Scope:
        """Which layers move."""
        return self.scope


def check_refusal(refusal: str) -> None:
    """Raises InputError where there is no text."""
    if not refusal.strip():
        raise InputError("refusal is empty; give the answer that takes the place of the model's own.")


def _opened(vlm: Vlm, samples: Sequence[Sample]) -> list[Image]:
    """The photos of samples, no larger than the processor has a use for: they are held, and prepared in each step."""
    pictures = [sample.image for sample in samples if sample.image is not None]
    side = enough(vlm.processor, largest(pictures), LARGEST) if pictures else LARGEST
    return [shrunk(open_image(picture), side) for picture in pictures]


@dataclass(frozen=True, eq=False)
class _Asked:
    """Photos, what is said of each, and how unlikely that was before the request (n,)."""

    images: list[Image]
    answers: list[str]
    before: Tensor


class _AnswerRun:
    """One request: what was said of its photos before it, and the loss."""

    def __init__(
        self,
        settings: AnswerMethod,
        objective: Objective,
        vlm: Vlm,
        weights: Mapping[str, ConfinedWeight],
        shown: list[Image],
        retained: Sequence[Sample],
        seed: int,
    ) -> None:
        self.settings, self.objective, self.vlm, self.weights, self.seed = settings, objective, vlm, weights, seed
        self.own = self._ask(shown)
        self.refused = self._told(shown if objective.refusal else [], [objective.refusal] * len(shown))
        drawn = torch.randperm(len(retained), generator=Generator().manual_seed(seed))[:KEPT].tolist()
        self.kept = self._ask(_opened(vlm, [retained[place] for place in drawn]) if objective.retained else [])
        self.blocks = blocks(list(weights), vlm.model) if objective.distill > 0 else ""
        self.fisher: dict[str, Tensor] = {}
        self.facts: dict[str, float] = {}

    def probe(self) -> None:
        """Finds which weights matter to what, where the objective asks for it."""
        if self.objective.fisher > 0 or self.objective.saliency > 0:
            kept = squared_gradients(self.weights, self._one_by_one(self.kept))
        if self.objective.fisher > 0:
            self.fisher = kept
        if self.objective.saliency > 0:
            own = squared_gradients(self.weights, self._one_by_one(self.own))
            for name, weight in self.weights.items():
                weight.mask = salient(own[name], kept[name], self.objective.saliency)
            masks = [weight.mask for weight in self.weights.values() if weight.mask is not None]
            self.facts["salient_share"] = sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    def _one_by_one(self, asked: _Asked) -> Iterator[Tensor]:
        drawn = torch.randperm(len(asked.images), generator=Generator().manual_seed(self.seed))
        for place in drawn[:PROBED].tolist():
            yield self._said(asked, [place]).losses.sum()

    def loss(self, generator: Generator) -> Iterator[Tensor]:
        """The loss of one step: its part of the target, then that of retained answers."""
        if self.objective.target is not None:
            places = self._drawn(self.own, generator)
            yield self.objective.target(
                Batch(
                    partial(self._said, self.own, places),
                    partial(self._said, self.refused, places),
                    partial(self._apart, places),
                )
            )
        if self.kept.images and (self.objective.weight > 0 or self.objective.distill > 0):
            places = self._drawn(self.kept, generator)
            if self.objective.weight > 0:
                kept = (
                    self._divergence(places) if self.objective.divergence else mean_loss(self._said(self.kept, places))
                )
                yield self.objective.weight * kept
            if self.objective.distill > 0:
                yield self.objective.distill * self._far(places)
        if self.fisher or self.settings.layers() in WITH_LANGUAGE:
            # A layer of the language model need not run in every step, and must have a gradient all the same.
            yield torch.stack([self._held(name, weight) for name, weight in self.weights.items()]).sum()

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

    def _held(self, name: str, weight: ConfinedWeight) -> Tensor:
        """Half the squared change of a layer, weighed by the Fisher information; zero without one."""
        if name not in self.fisher:
            return weight.weight[0, 0] * 0
        return self.objective.fisher / 2 * (self.fisher[name] * (weight.weight - weight.start).square()).sum()

    def _far(self, places: Sequence[int]) -> Tensor:
        """Change of retained features relative to their energy before: the mean over blocks and crossings."""
        images = image_inputs(self.vlm.processor, [self.kept.images[place] for place in places])
        with torch.no_grad(), self._before():
            before = depths(self.vlm.model, self.blocks, images)
        now = depths(self.vlm.model, self.blocks, images)
        return torch.stack(
            [(new - old).square().mean() / old.square().mean() for old, new in zip(before, now, strict=True)]
        ).mean()

    def _apart(self, places: Sequence[int]) -> Apart:
        questions = self._questions(self.refused, places)
        answers = [self.refused.answers[place] for place in places]
        with torch.no_grad(), self._before():
            before, _, _ = answer_log_probabilities(self.vlm, questions, answers)
        now, tokens, real = answer_log_probabilities(self.vlm, questions, answers)
        named = torch.zeros(len(places), now.shape[-1], dtype=torch.bool)
        for row, place in enumerate(places):
            named[row, self.vlm.processor.tokenizer(self.own.answers[place], add_special_tokens=False)["input_ids"]] = (
                True
            )
        return Apart(before, now, tokens, real, named.to(now.device))

    @contextmanager
    def _before(self) -> Iterator[None]:
        """While open, the weights are what they were before the request."""
        with restored({name: weight.weight for name, weight in self.weights.items()}):
            for weight in self.weights.values():
                weight.restore()
            yield

    def _ask(self, images: list[Image]) -> _Asked:
        """Photos with what the model says of them."""
        answers = list[str]()
        for start in range(0, len(images), AT_ONCE):
            part = [(image, self.settings.prompt) for image in images[start : start + AT_ONCE]]
            answers += say(self.vlm, part, self.settings.tokens)
        return self._told(images, answers)

    @torch.no_grad()
    def _told(self, images: list[Image], answers: list[str]) -> _Asked:
        """Photos with these answers, as likely as they are now."""
        losses = [
            answer_losses(
                self.vlm,
                [(image, self.settings.prompt) for image in images[start : start + AT_ONCE]],
                answers[start : start + AT_ONCE],
            )[0]
            for start in range(0, len(images), AT_ONCE)
        ]
        return _Asked(images, answers, torch.cat([torch.zeros(0, device=self.vlm.device), *losses]))

    def _questions(self, asked: _Asked, places: Sequence[int]) -> list[tuple[Image | None, str]]:
        return [(asked.images[place], self.settings.prompt) for place in places]

    def _said(self, asked: _Asked, places: Sequence[int]) -> Said:
        answers = [asked.answers[place] for place in places]
        losses, tokens = answer_losses(self.vlm, self._questions(asked, places), answers)
        return Said(losses, tokens, asked.before[torch.tensor(list(places))])


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
