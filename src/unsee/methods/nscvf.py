"""NSCVF: null-space constrained contrastive visual forgetting.

Source: arXiv 2605.05909 for the idea (contrastive forgetting towards an appropriate region, updates confined to the
null space of retained knowledge). Its formulas and code are not available; what stands here is our reconstruction,
and docs/method.md says where each choice comes from.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Generator, Tensor

from unsee import losses
from unsee.data import validate
from unsee.edit import Edit, plain
from unsee.errors import InputError, unknown
from unsee.linalg.gram import Gram
from unsee.linalg.subspace import CRITERIA, ConfinedWeight, null_projector, retained_basis, retained_drift, soft_root
from unsee.models.checkpoint import Vlm
from unsee.models.features import all_features, visual_features
from unsee.models.views import varied
from unsee.moments import Moments, MomentSettings, Photos, measure, prepare
from unsee.records import LayerDrift, Sample
from unsee.regions import RegionSettings, TargetFeatures, belonging, region
from unsee.training import Bars, Progress, Schedule, fingerprint, train

LOOK_EVERY = 25  # steps between two looks at how far the run is
NEGATIVES = 32  # target images of before that a step's contrast sees
WATCHED = 256  # retained images whose drift a look measures
NAMED = 0.05  # mean posterior of the own concept below which a region counts as nobody's
GROW, MOST_REACH = 1.25, 4.0  # how the reach grows while the region is still named, and where that ends


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
        return MomentSettings(modes=self.modes, seed=seed)

    def forget(
        self,
        vlm: Vlm,
        target: Sequence[Sample],
        retained: Sequence[Sample] | None,
        *,
        moments: Moments | None = None,
        seed: int = 0,
        state: Path | None = None,
        progress: Progress | None = None,
    ) -> Edit:
        """Forgets what is on the target images; see `unsee.forget`. The model's own weights are put back afterwards."""
        started = time.monotonic()
        photos, seen = None, tuple(validate(target, "target"))
        if retained:
            measured, photos = measure(vlm, retained, self.moment_settings(seed))
            moments, seen = moments or measured, seen + measured.hashes
        if moments is None:
            raise InputError("there are neither retained images nor moments; give photos of others, or a moments file.")
        prepared = time.monotonic()
        run = _Run(self, vlm, prepare(vlm, target), photos, moments, seed)
        with _confined(vlm, run.spans()) as weights:
            run.start = {name: weight.start for name, weight in weights.items()}
            log = train(
                weights,
                run.loss,
                run.look,
                Bars({"target": self.stop_target, "drift": self.stop_drift}),
                Schedule(self.steps, self.rate, self.weight_decay, LOOK_EVERY),
                seed=seed,
                state=state,
                key=fingerprint(str(self), str(seed), moments.model, *moments.hashes, *seen),
                progress=progress,
            )
            after = {name: weight.weight.detach().clone() for name, weight in weights.items()}
        return Edit(
            vlm=vlm,
            weights={f"{name}.weight": after[name] for name in after},
            method={"name": self.name, **plain(self), "steps_made": log.steps, "looks": log.looks, **run.facts()},
            seed=seed,
            stopped=log.stopped,
            layers=[run.layer(name, run.start[name], after[name]) for name in after],
            timings={
                "moments_s": round(prepared - started, 2),
                "forget_s": round(time.monotonic() - prepared, 2),
            },
        )


@contextmanager
def _confined(vlm: Vlm, spans: Mapping[str, Tensor | None]) -> Iterator[dict[str, ConfinedWeight]]:
    """The weights of these layers, requiring gradient; frozen and as they were again afterwards."""
    modules = dict(vlm.model.named_modules())
    confined = {name: ConfinedWeight(modules[name].weight, span) for name, span in spans.items()}
    try:
        for weight in confined.values():
            weight.weight.requires_grad_(True)
        yield confined
    finally:
        for weight in confined.values():
            weight.weight.requires_grad_(False)
            weight.weight.grad = None
            weight.weight.copy_(weight.start)


class _Run:
    """One request: its images, where they go, and the loss; reference features are computed once, here."""

    def __init__(
        self, settings: NSCVF, vlm: Vlm, target: Photos, retained: Photos | None, moments: Moments, seed: int
    ) -> None:
        self.settings, self.vlm, self.moments, self.retained = settings, vlm, moments, retained
        known = moments.features
        shift, self.reach, self.named_before, self.named_in_region = _valid_shift(settings, target, moments, seed)
        generator = Generator().manual_seed(seed)
        copies = [varied(target.inputs, generator) for _ in range(settings.views)]
        self.inputs = {
            name: torch.cat([value, *(copy[name] for copy in copies)]) for name, value in target.inputs.items()
        }
        self.original = torch.cat([target.features, *(all_features(vlm.model, copy) for copy in copies)])
        self.concept = target.concept.repeat(1 + settings.views)
        self.goal = self.original + shift.repeat(1 + settings.views, 1, 1)
        self.images = len(target.features)
        self.away = losses.distance(target.features, self.goal[: self.images], known, settings.identity).item()
        self.start: dict[str, Tensor] = {}
        count = 0 if retained is None else len(retained.features)
        self.watched = torch.arange(0, count, max(1, count // WATCHED))

    def spans(self) -> dict[str, Tensor | None]:
        """What confines every trained layer; None for all where the null space is switched off."""
        made: dict[int, Tensor | None] = {}
        for gram in self.moments.grams.values():
            if id(gram) not in made:
                made[id(gram)] = self._span(gram)
        return {name: made[id(gram)] for name, gram in self.moments.grams.items()}

    def _span(self, gram: Gram) -> Tensor | None:
        if not self.settings.null_space:
            return None
        if self.settings.criterion == "soft":
            return soft_root(gram, self.settings.ridge)
        return null_projector(retained_basis(gram, self.settings.criterion, self.settings.keep))

    def loss(self, generator: Generator) -> Tensor:
        """The loss of one step on a batch drawn with `generator`; scalar, with gradient."""
        settings, known = self.settings, self.moments.features
        drawn = torch.randint(len(self.goal), (settings.batch,), generator=generator)
        batch = {name: value[drawn] for name, value in self.inputs.items()}
        kept = None
        if self.retained is not None and settings.distill > 0:
            kept = torch.randint(len(self.retained.features), (settings.batch * 3 // 2,), generator=generator)
            batch = {name: torch.cat([value, self.retained.inputs[name][kept]]) for name, value in batch.items()}
        features = visual_features(self.vlm.model, batch)
        moved = features[: len(drawn)]
        total = features.new_zeros(())
        if settings.attract > 0:
            total = total + settings.attract * losses.distance(moved, self.goal[drawn], known, settings.identity)
        if settings.contrast > 0:
            total = total + settings.contrast * self._contrast(moved, drawn, generator)
        if kept is not None and self.retained is not None:
            reference = self.retained.features[kept]
            total = total + settings.distill * losses.distance(
                features[len(drawn) :], reference, known, settings.identity
            )
        return total

    def _contrast(self, moved: Tensor, drawn: Tensor, generator: Generator) -> Tensor:
        known, aside = self.moments.features, torch.randint(len(self.goal), (NEGATIVES,), generator=generator)
        same = self.concept[drawn][:, None] == self.concept[aside]
        return losses.contrast(
            losses.identity(moved, known),
            losses.identity(self.goal[drawn], known),
            losses.identity(self.original[drawn], known),
            losses.identity(self.original[aside], known),
            same=same,
            temperature=self.settings.temperature,
        )

    def look(self) -> dict[str, float]:
        """How far the run is: target (1 at first, 0 at the region), drift of retained features, and how named it is."""
        known, count = self.moments.features, self.images
        first = {name: value[:count] for name, value in self.inputs.items()}
        features = all_features(self.vlm.model, first)
        left = losses.distance(features, self.goal[:count], known, self.settings.identity).item() / max(
            self.away, 1e-12
        )
        own = self.target_features()
        named = belonging(features, own.concept, own, known).mean().item()
        return {"target": left, "drift": self._drift(), "named": named}

    def target_features(self) -> TargetFeatures:
        """The target images' reference features, without their copies."""
        return TargetFeatures(self.original[: self.images], self.concept[: self.images])

    def _drift(self) -> float:
        """Mean squared drift of retained features (1: as far as a stranger); of layers where there is no image."""
        if self.retained is None:
            modules = dict(self.vlm.model.named_modules())
            return max(
                retained_drift(modules[name].weight.detach() - self.start[name], self.start[name], gram)
                for name, gram in self.moments.grams.items()
            )
        inputs = {name: value[self.watched] for name, value in self.retained.inputs.items()}
        features = all_features(self.vlm.model, inputs)
        return losses.distance(features, self.retained.features[self.watched], self.moments.features, 0.0).item()

    def layer(self, name: str, before: Tensor, after: Tensor) -> LayerDrift:
        """How far one weight moved, measured exactly on its Gram."""
        gram, delta = self.moments.grams[name], after - before
        protected = 0
        if self.settings.null_space and self.settings.criterion != "soft":
            protected = retained_basis(gram, self.settings.criterion, self.settings.keep).shape[1]
        change = (delta.norm() / before.norm()).item()
        return LayerDrift(name, retained_drift(delta, before, gram), change, protected, gram.width)

    def facts(self) -> dict[str, float]:
        """What the region turned out to be."""
        return {
            "region_reach": self.reach,
            "named_before": self.named_before,
            "named_in_region": self.named_in_region,
            "retained_images": self.moments.count,
        }


def _valid_shift(settings: NSCVF, target: Photos, moments: Moments, seed: int) -> tuple[Tensor, float, float, float]:
    """The shift (n, tokens, width), its reach, and the share of images named before and in the region.

    The reach grows until the images are no longer named from their region (see `belonging`), or MOST_REACH is passed.
    """
    own, known = TargetFeatures(target.features, target.concept), moments.features
    named = belonging(own.features, own.concept, own, known).mean().item()
    reach = settings.reach
    while True:
        asked = RegionSettings(settings.modes, settings.directions, reach, seed)
        shift = region(settings.region)(own, known, asked)
        inside = belonging(own.features + shift, own.concept, own, known).mean().item()
        if inside < NAMED or reach * GROW > MOST_REACH:
            return shift, reach, named, inside
        reach *= GROW
