"""RMU: target features towards one random direction, retained features as before; a baseline.

Source: Li et al. 2024 (arXiv 2403.03218), section 4. There the activations are those of a layer of a language model;
at the features that enter it is ours.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from unsee.errors import InputError, check_ranges
from unsee.forgetting.confined import ConfinedWeight, now_and_before
from unsee.forgetting.edit import Edit, rounded, settings_of
from unsee.forgetting.training import LOOK_EVERY, Bars, Progress, Schedule, moving, train
from unsee.models.checkpoint import Vlm, visual_hash
from unsee.models.features import Features, Inputs, visual_features
from unsee.models.scopes import scope_layers
from unsee.moments.measure import prepare
from unsee.moments.records import Moments, MomentSettings, Photos
from unsee.records import Sample
from unsee.system.tensors import fingerprint


@dataclass(frozen=True)
class RMU:
    """Settings of the method."""

    scope: Literal["visual", "projector"] = "visual"
    """Which layers move."""
    steer: float = 2.0
    """Length of where the target's tokens are sent, in those of a mean retained token, above 0."""
    weight: float = 1.0
    """Weight of the retained features, 0 or more."""
    steps: int = 200
    """Training steps, 1 or more."""
    rate: float = 1e-3
    """Highest learning rate, above 0."""
    batch: int = 16
    """Target photos per step, 1 or more, and as many retained ones."""

    name: ClassVar[str] = "rmu"
    language: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        if self.scope not in ("visual", "projector"):
            raise InputError(f"scope is {self.scope!r}; expected visual or projector.")
        check_ranges(self, above=("steer", "rate"), at_least_0=("weight",), at_least_1=("steps", "batch"))

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
        memory: str = "normal",
        state: Path | None = None,
        progress: Progress | None = None,
    ) -> Edit:
        """Forgets what is on the target images; see `Method.forget`. Raises InputError without retained images."""
        started = time.monotonic()
        if retained is None:
            raise InputError(f"{self.name} needs retained photos in every request; give them.")
        bounds = vlm.bounds(memory)
        shown = prepare(vlm, target, bounds.images)
        kept = retained if isinstance(retained, Photos) else prepare(vlm, retained, bounds.images)
        modules = dict(vlm.model.named_modules())
        names = scope_layers(vlm, self.scope, shown.inputs[0])
        weights = {name: ConfinedWeight(modules[name].weight, None, vlm.dtype_of(f"{name}.weight")) for name in names}
        run = _Steering(self, vlm, shown, kept, steered(kept.features, self.steer, seed), bounds.images)
        with moving(weights):
            log = train(
                weights,
                run.loss,
                run.look,
                Bars({"target": 0.0}),
                Schedule(self.steps, self.rate, 0.0, LOOK_EVERY),
                seed=seed,
                state=state,
                key=fingerprint(str(self), str(seed), visual_hash(vlm), *shown.hashes, *kept.hashes),
                progress=progress,
            )
            after, lost = rounded(vlm, *now_and_before(weights))
        return Edit(
            vlm=vlm,
            weights=after,
            method={
                "name": self.name,
                **settings_of(self),
                "steps_made": log.steps,
                "looks": log.looks,
                "counted_images": len(kept.inputs),
                "rounding_share": lost,
            },
            seed=seed,
            stopped=log.stopped,
            timings={"moments_s": 0.0, "forget_s": round(time.monotonic() - started, 2)},
        )


@dataclass(frozen=True, eq=False)
class _Steering:
    """The loss of a run: target features towards the steering vector, retained ones where they were."""

    settings: RMU
    vlm: Vlm
    shown: Photos
    kept: Photos
    goal: dict[str, Tensor]
    batch: int

    def loss(self, generator: Generator) -> Iterator[Tensor]:
        """The loss of one step, in parts."""
        now, _ = self._drawn(self.shown, generator)
        yield towards(now, self.goal, self.kept.features)
        if self.settings.weight > 0:
            yield self.settings.weight * feature_shift(*self._drawn(self.kept, generator), self.kept.features)

    @torch.no_grad()
    def look(self) -> dict[str, float]:
        """How far the first target photos are from the steering vector."""
        now = visual_features(self.vlm.model, self.shown.inputs[: self.batch])
        return {"target": float(towards(now, self.goal, self.kept.features))}

    def _drawn(self, photos: Photos, generator: Generator) -> tuple[Features, Features]:
        """Of some photos, the features now and before."""
        places = torch.randint(len(photos.inputs), (self.settings.batch,), generator=generator)
        chosen: list[Inputs] = [photos.inputs[place] for place in places.tolist()]
        now = visual_features(self.vlm.model, chosen)
        return now, photos.features[places].to(now.device)


def _scales(known: Features) -> dict[str, float]:
    """Mean squared length of a token at each crossing."""
    return {name: (value.square().sum() / known.counts[name].sum()).item() for name, value in known.values.items()}


def steered(known: Features, steer: float, seed: int) -> dict[str, Tensor]:
    """c u at each crossing (width,): u of independent uniform entries on [0, 1), of unit length (RMU, section 4)."""
    generator = Generator().manual_seed(seed)
    drawn = {name: torch.rand(value.shape[-1], generator=generator) for name, value in known.values.items()}
    scales = _scales(known)
    return {name: steer * scales[name] ** 0.5 * unit / unit.norm() for name, unit in drawn.items()}


def towards(now: Features, goal: dict[str, Tensor], known: Features) -> Tensor:
    """Mean squared distance of tokens from the goal, by the mean squared length of a retained token."""
    return _mean(now, {name: now.values[name] - goal[name].to(now.device) for name in goal}, known)


def feature_shift(now: Features, before: Features, known: Features) -> Tensor:
    """Mean squared distance of tokens from what they were, by the mean squared length of a retained token."""
    width = {name: value.shape[1] for name, value in now.values.items()}
    return _mean(
        now, {name: value - before.values[name][:, : width[name]] for name, value in now.values.items()}, known
    )


def _mean(now: Features, off: dict[str, Tensor], known: Features) -> Tensor:
    scales = _scales(known)
    parts = []
    for name, value in off.items():
        real = torch.arange(value.shape[1], device=value.device) < now.counts[name][:, None]
        parts.append((value.square().sum(-1) * real).sum() / real.sum() / scales[name])
    return torch.stack(parts).mean()
