"""NSCVF: null-space constrained contrastive visual forgetting.

Source: arXiv 2605.05909 for the idea (contrastive forgetting towards an appropriate region, updates confined to the
null space of retained knowledge). Its formulas and code are not available; what stands here is our reconstruction,
and docs/method.md says where each choice comes from.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Generator, Tensor

from unsee import losses
from unsee.aim import Aim
from unsee.data import validate
from unsee.edit import Edit, plain
from unsee.errors import InputError, unknown
from unsee.linalg.gram import Gram
from unsee.linalg.subspace import (
    CRITERIA,
    ConfinedWeight,
    Span,
    retained_basis,
    retained_drift,
    span,
)
from unsee.memory import Memory, give_back, plan
from unsee.models.checkpoint import Vlm
from unsee.models.features import Features, all_features, visual_features
from unsee.moments import Moments, MomentSettings, Photos, measure, prepare
from unsee.records import LayerDrift, Sample
from unsee.regions import RegionSettings, region
from unsee.training import Bars, Progress, Schedule, TrainingLog, fingerprint, recomputed, train

LOOK_EVERY = 25  # steps between two looks at how far the run is
NEGATIVES = 32  # target images of before that a step's contrast sees
WATCHED = 256  # retained images whose drift a look measures


@dataclass(frozen=True)
class NSCVF:
    """Settings of the method; each part can be switched off for the ablation."""

    region: str = "discriminant"
    """Where the target's features are sent: a name in unsee.regions.REGIONS."""
    reach: float = 2.0
    """Factor of the region's shift, above 0; it grows where the target would still be named."""
    modes: int = 3
    """Most clusters that a concept is divided into, 1 or more."""
    directions: int = 6
    """Discriminant directions that the region moves, 1 or more."""
    contrast: float = 0.1
    """Weight of the contrastive loss; 0 switches it off."""
    attract: float = 1.0
    """Weight of the squared distance to the region; 0 switches it off."""
    distill: float = 1.0
    """Weight of keeping the features of retained images; 0, or no retained image, switches it off."""
    identity: float = 1.0
    """Weight, within both, of the coordinates that tell concepts apart; 0 or more."""
    temperature: float = 0.5
    """Of the contrastive loss, above 0."""
    null_space: bool = True
    """Confine every step to the null space of what is retained."""
    criterion: str = "soft"
    """What is protected: soft (each direction by its retained energy), or a name in unsee.linalg.subspace.CRITERIA."""
    ridge: float = 0.01
    """Of soft, above 0, in units of the mean energy; smaller protects more."""
    keep: float = 0.99
    """Of the other criteria: how much is protected, in [0, 1]."""
    views: int = 8
    """Variations of each target image, 0 or more."""
    crossings: tuple[str, ...] = ()
    """Where features must be forgotten: names that `unsee inspect` gives; every crossing where none is named."""
    runs: int = 0
    """Runs of tokens that describe an image; 0: each token, or 16 runs where their number varies or is large."""
    steps: int = 200
    """Most training steps, 1 or more."""
    rate: float = 2e-3
    """Highest learning rate, above 0."""
    weight_decay: float = 0.0
    """Of AdamW, 0 or more."""
    batch: int = 32
    """Target images per step, 1 or more; half as many again are retained ones."""
    stop_target: float = 0.02
    """Stop early when the target is this close to its region (1 is where it started) ..."""
    stop_drift: float = 0.02
    """... and retained features have moved no more than this (1 is as far as a stranger)."""

    name: ClassVar[str] = "nscvf"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        region(self.region)
        if self.criterion not in (*CRITERIA, "soft"):
            raise unknown("criterion", self.criterion, (*CRITERIA, "soft"))
        positive = {
            "reach": self.reach,
            "temperature": self.temperature,
            "rate": self.rate,
            "ridge": self.ridge,
        }
        nonnegative = {
            "contrast": self.contrast,
            "attract": self.attract,
            "distill": self.distill,
            "identity": self.identity,
            "views": self.views,
            "runs": self.runs,
            "weight_decay": self.weight_decay,
            "stop_target": self.stop_target,
            "stop_drift": self.stop_drift,
        }
        counts = {"modes": self.modes, "directions": self.directions, "steps": self.steps, "batch": self.batch}
        for values, low, expected in (
            (positive, 1e-12, "above 0"),
            (nonnegative, 0, "of 0 or more"),
            (counts, 1, "of 1 or more"),
        ):
            for field, value in values.items():
                if not low <= value < float("inf"):
                    raise InputError(f"{field} is {value}; expected a number {expected}.")
        if not 0 <= self.keep <= 1:
            raise InputError(f"keep is {self.keep}; expected a share from 0 to 1.")
        if self.contrast == self.attract == 0:
            raise InputError("contrast and attract are both 0, so that nothing would be forgotten; set one above 0.")

    def moment_settings(self, seed: int) -> MomentSettings:
        """How this method wants the retained features summarised."""
        return MomentSettings(modes=self.modes, seed=seed, crossings=self.crossings, runs=self.runs)

    def forget(
        self,
        vlm: Vlm,
        target: Sequence[Sample],
        retained: Sequence[Sample] | Photos | None,
        *,
        moments: Moments | None = None,
        seed: int = 0,
        memory: str = "normal",
        state: Path | None = None,
        progress: Progress | None = None,
    ) -> Edit:
        """Forgets what is on the target images; see `Method.forget`."""
        bounds = plan(memory, sum(vlm.partition.groups.values()))
        if bounds.frugal:
            give_back()
        place = None if state is None else state.parent
        with tempfile.TemporaryDirectory(prefix="unsee-", dir=place) if bounds.frugal else nullcontext() as scratch:
            started = time.monotonic()
            validate(target, "target")
            photos = None
            if isinstance(retained, Photos):
                photos = retained
            elif retained and moments is not None:
                photos = prepare(vlm, retained, bounds.images)
            elif retained:
                where = None if scratch is None else Path(scratch)
                moments, photos = measure(vlm, retained, self.moment_settings(seed), bounds, where)
            if moments is None:
                raise InputError(
                    "there are neither retained images nor moments; give photos of others, or a moments file."
                )
            known = tuple(moments.features.layout.shapes)
            if self.crossings and set(self.crossings) != set(known):
                raise InputError(
                    f"the moments are of the crossings {', '.join(known)}; they cannot be used for others alone."
                )
            prepared = time.monotonic()
            shown = prepare(vlm, target, bounds.images)
            asked = RegionSettings(self.modes, self.directions, self.reach, seed)
            aim = Aim(
                vlm,
                target,
                shown,
                moments.features,
                region=self.region,
                asked=asked,
                views=self.views,
                identity=self.identity,
                batch=bounds.images,
            )
            run = _Run(self, vlm, aim, photos, moments, bounds)
            seen = shown.hashes + (() if photos is None else photos.hashes)
            key = fingerprint(str(self), memory, str(seed), moments.model, *moments.hashes, *seen)
            with recomputed(vlm.model) if bounds.frugal else nullcontext(), run.put_back():
                logs = run.train(seed, state, key, progress)
            timings = {"moments_s": prepared - started, "forget_s": time.monotonic() - prepared}
            return Edit(
                vlm=vlm,
                weights={f"{name}.weight": value for name, value in run.after.items()},
                method={
                    "name": self.name,
                    **plain(self),
                    "memory": memory,
                    "steps_made": sum(log.steps for log in logs),
                    "looks": [look for log in logs for look in log.looks],
                    **run.facts(),
                },
                seed=seed,
                stopped=logs[-1].stopped,
                layers=run.drifts,
                timings={name: round(value, 2) for name, value in timings.items()},
            )


class _Run:
    """One request: its images, where they go, and the loss; reference features are computed once, here."""

    def __init__(
        self,
        settings: NSCVF,
        vlm: Vlm,
        aim: Aim,
        retained: Photos | None,
        moments: Moments,
        bounds: Memory,
    ) -> None:
        self.settings, self.vlm, self.moments, self.retained = settings, vlm, moments, retained
        self.bounds, self.aim = bounds, aim
        self.coordinates = losses.identity(aim.original, moments.features)
        self.coordinates_there = losses.identity(aim.goal(torch.arange(len(aim.inputs))), moments.features)
        count = 0 if retained is None else len(retained.features)
        self.watched = torch.arange(0, count, max(1, count // WATCHED))
        self.start: dict[str, Tensor] = {}
        self.after: dict[str, Tensor] = {}
        self.drifts: list[LayerDrift] = []
        self.rounding: dict[str, float] = {}

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """While open, weights may move; those that did are then what they were, and frozen."""
        modules = dict(self.vlm.model.named_modules())
        try:
            yield
        finally:
            for name, start in self.start.items():
                weight = modules[name].weight
                weight.requires_grad_(False)
                weight.grad = None
                weight.copy_(start)

    def train(self, seed: int, state: Path | None, key: str, progress: Progress | None) -> list[TrainingLog]:
        """Trains the layers, in turns where the memory asks for it, the last ones first; keeps what came of them."""
        settings, logs = self.settings, list[TrainingLog]()
        bars = Bars({"target": settings.stop_target, "drift": settings.stop_drift})
        turns = self._turns()
        for number, names in enumerate(turns):
            steps = settings.steps * (number + 1) // len(turns) - settings.steps * number // len(turns)
            if not steps:
                continue
            weights = self._confined(names)
            self.start |= {name: weight.start for name, weight in weights.items()}
            log = train(
                weights,
                self.loss,
                self.look,
                bars,
                Schedule(steps, settings.rate, settings.weight_decay, LOOK_EVERY),
                seed=seed + number,
                state=state if state is None or len(turns) == 1 else state.with_stem(f"{state.stem}_{number}"),
                key=key,
                progress=progress,
            )
            logs.append(log)
            self.drifts += [self._layer(name, weight) for name, weight in weights.items()]
            for weight in weights.values():
                weight.weight.requires_grad_(False)
            if bars.reached(log.looks[-1]):
                break
        self._round(logs[-1].looks[-1])
        return logs

    def _turns(self) -> list[list[str]]:
        modules, turns = dict(self.vlm.model.named_modules()), list[list[str]]()
        numbers = 0
        for name in reversed(list(self.moments.first)):
            size = modules[name].weight.numel()
            if not turns or numbers + size > self.bounds.weights:
                turns.append([])
                numbers = 0
            turns[-1].insert(0, name)
            numbers += size
        return turns

    def _confined(self, names: Sequence[str]) -> dict[str, ConfinedWeight]:
        settings, modules = self.settings, dict(self.vlm.model.named_modules())
        spans, made = dict[str, Span](), {}
        for name in names:
            first = self.moments.first[name]
            if first not in spans and settings.null_space:
                gram, guard = self.moments.grams[first], self.moments.guard.get(first)
                spans[first] = span(gram, settings.criterion, settings.keep, settings.ridge, guard)
            weight = modules[name].weight
            made[name] = ConfinedWeight(weight, spans.get(first), self.vlm.dtype_of(f"{name}.weight"))
            weight.requires_grad_(True)
        return made

    def _round(self, looked: dict[str, float]) -> None:
        """Rounds the trained weights to how they are stored, once, and measures what that changes."""
        modules = dict(self.vlm.model.named_modules())
        lost = moved = 0.0
        for name, start in self.start.items():
            weight = modules[name].weight
            rounded = weight.detach().to(self.vlm.dtype_of(f"{name}.weight"), copy=True)
            if not torch.isfinite(rounded).all():
                raise InputError(f"the run diverged: {name} is no longer finite as stored; give a lower rate.")
            lost += float((rounded.to(weight.dtype) - weight).square().sum())
            moved += float((weight - start).square().sum())
            weight.copy_(rounded)
            self.after[name] = rounded
        again = self.look()
        self.rounding = {"rounding_share": (lost / moved) ** 0.5 if moved else 0.0}
        self.rounding |= {f"rounding_{name}": again[name] - looked[name] for name in ("target", "drift")}

    def loss(self, generator: Generator) -> Iterator[Tensor]:
        """The loss of one step on a batch drawn with `generator`, in parts that each take a few images."""
        settings = self.settings
        drawn = torch.randint(len(self.aim.inputs), (settings.batch,), generator=generator)
        kept = drawn[:0]
        if self.retained is not None and settings.distill > 0:
            kept = torch.randint(len(self.retained.inputs), (settings.batch * 3 // 2,), generator=generator)
        aside = torch.randint(len(self.aim.inputs), (NEGATIVES,), generator=generator)
        size = self.bounds.images
        whole = torch.cat([drawn, kept])
        for start in range(0, len(whole), size):
            moving = drawn[start : start + size]
            staying = kept[max(0, start - len(drawn)) : max(0, start + size - len(drawn))]
            yield self._part(moving, staying, aside, len(drawn), max(1, len(kept)))

    def _part(self, moving: Tensor, staying: Tensor, aside: Tensor, targets: int, keeps: int) -> Tensor:
        settings, known, retained = self.settings, self.moments.features, self.retained
        images = [self.aim.inputs[i] for i in moving.tolist()]
        if retained is not None:
            images += [retained.inputs[i] for i in staying.tolist()]
        features = visual_features(self.vlm.model, images)
        total = next(iter(features.values.values())).new_zeros(())
        if len(moving):
            moved, share = features[: len(moving)], len(moving) / targets
            if settings.attract > 0:
                apart = losses.distance(moved, self.aim.goal(moving), known, settings.identity)
                total = total + settings.attract * share * apart
            if settings.contrast > 0:
                total = total + settings.contrast * share * self._contrast(moved, moving, aside)
        if len(staying) and retained is not None:
            apart = losses.distance(features[len(moving) :], retained.features[staying], known, settings.identity)
            total = total + settings.distill * len(staying) / keeps * apart
        return total

    def _contrast(self, moved: Features, drawn: Tensor, aside: Tensor) -> Tensor:
        return losses.contrast(
            losses.identity(moved, self.moments.features),
            self.coordinates_there[drawn],
            self.coordinates[drawn],
            self.coordinates[aside],
            same=self.aim.concept[drawn][:, None] == self.aim.concept[aside],
            temperature=self.settings.temperature,
        )

    def look(self) -> dict[str, float]:
        """How far the run is: target (1 at first, 0 at the region), drift of retained features, and how named it is."""
        return {**self.aim.look(self.vlm), "drift": self._drift()}

    def _drift(self) -> float:
        """Mean squared drift of retained features (1: as far as a stranger); of layers where there is no image."""
        if self.retained is None:
            modules = dict(self.vlm.model.named_modules())
            return max(
                retained_drift(modules[name].weight.detach() - start, start, self._gram(name))
                for name, start in self.start.items()
            )
        watched = [self.retained.inputs[i] for i in self.watched.tolist()]
        features = all_features(self.vlm.model, watched, self.bounds.images)
        return losses.distance(features, self.retained.features[self.watched], self.moments.features, 0.0).item()

    def _gram(self, name: str) -> Gram:
        return self.moments.grams[self.moments.first[name]]

    def _layer(self, name: str, weight: ConfinedWeight) -> LayerDrift:
        """How far one weight moved, measured exactly on its Gram."""
        gram, before = self._gram(name), weight.start.to(weight.weight.dtype)
        delta = weight.weight.detach() - before
        protected = 0
        if self.settings.null_space and self.settings.criterion != "soft":
            protected = retained_basis(gram, self.settings.criterion, self.settings.keep).shape[1]
        change = (delta.norm() / before.norm()).item()
        return LayerDrift(name, retained_drift(delta, before, gram), change, protected, gram.width)

    def facts(self) -> dict[str, float]:
        """What the region turned out to be, and what rounding changed."""
        return {
            "region_reach": self.aim.sent.reach,
            "named_before": self.aim.sent.named_before,
            "named_in_region": self.aim.sent.named_there,
            "retained_images": self.moments.count,
            **self.rounding,
        }
