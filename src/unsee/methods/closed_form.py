"""Closed form: every layer's change is solved for, a few times over; no training loop and no retained image.

Source: the least squares of AlphaEdit and MEMIT, carried over to a vision tower; which step each layer is asked for,
and that all layers are solved for at once, is ours.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from unsee.data import validate
from unsee.errors import InputError, check_ranges
from unsee.forgetting import losses
from unsee.forgetting.edit import Edit, rounded, settings_of
from unsee.forgetting.goals import Goals, GoalSettings
from unsee.forgetting.regions import RegionSettings, region
from unsee.forgetting.training import Progress, recomputed
from unsee.linalg.gram import GramStream
from unsee.linalg.ridge_edit import ridge_edit
from unsee.linalg.subspace import retained_drift
from unsee.models.checkpoint import Vlm
from unsee.models.features import all_features, visual_features
from unsee.models.outline import hooked
from unsee.models.weights import assign, frozen_after, restored
from unsee.moments.measure import measure, prepare
from unsee.moments.records import Moments, MomentSettings, Photos
from unsee.records import LayerDrift, Sample
from unsee.system.device import sums_on

HALVINGS = 8  # of a sweep's step, before it is given up


@dataclass(frozen=True)
class ClosedForm:
    """Settings of the method."""

    region: str = "discriminant"
    """Where the target's features are sent: a name in unsee.forgetting.regions.REGIONS."""
    reach: float = 2.0
    """Factor of the region's shift, above 0; it grows where the target would still be named."""
    modes: int = 3
    """Most clusters that a concept is divided into, 1 or more."""
    directions: int = 6
    """Discriminant directions that the region moves, 1 or more."""
    aside: int = 4
    """Of the regions discriminant and concept: how many directions, of those that vary most within a concept, stay."""
    identity: float = 1.0
    """Weight of the coordinates that tell concepts apart, 0 or more."""
    keep: float = 100.0
    """Weight of what a change does to retained vectors against what it does for the target's, 0 or more."""
    ridge: float = 0.1
    """Weight of the change itself, above 0, in units of the mean retained energy."""
    views: int = 800
    """Variations of the target images altogether, 0 or more."""
    crossings: tuple[str, ...] = ()
    """Where features must be forgotten: names that `unsee inspect` gives; every crossing where none is named."""
    runs: int = 1
    """Runs of tokens whose means describe an image; 1: its mean over all tokens; 0: each token, or 16 runs where their
    number varies or is large."""
    sweeps: int = 20
    """Most times that all layers are solved for, 1 or more."""
    stop_target: float = 0.1
    """Stop early when the target is this close to its region; 1 is where it started."""

    name: ClassVar[str] = "closed_form"
    language: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        region(self.region)
        check_ranges(
            self,
            above=("reach", "ridge"),
            at_least_0=("identity", "keep", "views", "runs", "aside", "stop_target"),
            at_least_1=("modes", "directions", "sweeps"),
        )

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
        state: Path | None = None,  # noqa: ARG002 # seconds of work are not resumed
        progress: Progress | None = None,
    ) -> Edit:
        """Forgets what is on the target images; see `Method.forget`. Retained images only make the moments.

        Each sweep asks every layer for the step along which the target comes nearer to its region fastest (the gradient
        of the squared distance by the layer's output), solves `ridge_edit` in all layers, and goes as far along the
        result as the distance falls.
        """
        bounds = vlm.bounds(memory)
        started = time.monotonic()
        validate(target, "target")
        if moments is None:
            if retained is None or isinstance(retained, Photos):
                raise InputError(
                    "there are neither retained images nor moments; give photos of others, or a moments file."
                )
            moments, _ = measure(vlm, retained, self.moment_settings(seed), bounds)
        moments.check_layers(moments.first)
        prepared = time.monotonic()
        along = RegionSettings(self.modes, self.directions, self.reach, seed, self.aside)
        wanted = GoalSettings(self.region, along, self.views, identity=self.identity)
        goals = Goals(
            vlm, prepare(vlm, target, bounds.images), moments.features, wanted, bounds.images, most=bounds.variations
        )
        modules = dict(vlm.model.named_modules())
        weights = {name: modules[name].weight for name in moments.first}
        with frozen_after(weights), restored(weights) as start:
            with recomputed(vlm.model) if bounds.frugal else nullcontext():
                looks, stopped = self._swept(vlm, goals, moments, weights, progress)
            layers = _layers(moments, weights, start)
            after, lost = rounded(vlm, weights, start, "a larger ridge")
            assign(weights, {name: after[f"{name}.weight"] for name in weights})
            rounding = {"rounding_share": lost, "rounding_target": goals.look(vlm)["target"] - looks[-1]["target"]}
        found = {"steps_made": len(looks), "looks": looks, **goals.facts(), "counted_images": moments.count}
        return Edit(
            vlm=vlm,
            weights=after,
            method={"name": self.name, **settings_of(self), **found, **rounding},
            seed=seed,
            stopped=f"{stopped}: target {looks[-1]['target']:.3g} (bound {self.stop_target:.3g})",
            layers=layers,
            timings={"moments_s": round(prepared - started, 2), "forget_s": round(time.monotonic() - prepared, 2)},
        )

    def _swept(
        self,
        vlm: Vlm,
        goals: Goals,
        moments: Moments,
        weights: Mapping[str, nn.Parameter],
        progress: Progress | None,
    ) -> tuple[list[dict[str, float]], str]:
        """Sweeps until the bound, the limit, or until nothing comes nearer; gives each look, and why it stopped."""
        looks = list[dict[str, float]]()
        for sweep in range(self.sweeps):
            went = _sweep(vlm, goals, moments, weights, self.keep, self.ridge)
            looks.append({"step": sweep + 1, **goals.look(vlm)})
            if progress is not None:
                progress(sweep + 1, self.sweeps, f"target {looks[-1]['target']:.3g}")
            if looks[-1]["target"] <= self.stop_target:
                return looks, "the bound was reached"
            if not went:
                return looks, "no further step came nearer"
        return looks, "the limit of sweeps was reached"


def _layers(moments: Moments, weights: Mapping[str, nn.Parameter], start: Mapping[str, Tensor]) -> list[LayerDrift]:
    """How far each layer moved."""
    found = []
    for name, weight in weights.items():
        delta, gram = weight.detach() - start[name], moments.grams[moments.first[name]]
        change = (delta.norm() / start[name].norm()).item()
        found.append(LayerDrift(name, retained_drift(delta, start[name], gram), change, 0, gram.width))
    return found


def _sweep(
    vlm: Vlm, goals: Goals, moments: Moments, weights: Mapping[str, nn.Parameter], keep: float, ridge: float
) -> bool:
    """Solves for every layer and goes along; false, and nothing moved, where that came no nearer."""
    modules = dict(vlm.model.named_modules())
    streams = {name: GramStream(modules[name].in_features, sums_on(vlm.device)) for name in moments.grams}
    for weight in weights.values():
        weight.requires_grad_(True)
        weight.grad = None
    with hooked((modules[name], stream.update) for name, stream in streams.items()):
        before = _distance(vlm, goals, backward=True)
    grams = {name: stream.gram for name, stream in streams.items()}
    directions: dict[str, Tensor] = {}
    slope = 0.0
    for name, weight in weights.items():
        if weight.grad is None:
            raise InputError(f"{name} does not reach the features of the target; this model cannot be edited so.")
        first = moments.first[name]
        wished, guard, anchor = (
            -weight.grad.cpu() * grams[first].count,
            moments.guard.get(first),
            moments.anchors.get(name),
        )
        moved = None if guard is None or anchor is None else anchor.slope(weight, guard)
        edit = ridge_edit(wished, grams[first], moments.grams[first], keep, ridge, guard, moved)
        directions[name] = edit.to(weight)
        slope -= float((weight.grad * directions[name]).sum())
        weight.grad = None
        weight.requires_grad_(False)
    went, nearest, length = 0.0, before, before / slope if slope > 0 else 0.0
    for _ in range(HALVINGS if length else 0):
        _move(weights, directions, length - went)
        went, there = length, _distance(vlm, goals)
        if there < nearest:
            return True
        length /= 2
    _move(weights, directions, -went)
    return False


@torch.no_grad()
def _move(weights: Mapping[str, nn.Parameter], directions: Mapping[str, Tensor], by: float) -> None:
    for name, weight in weights.items():
        weight.add_(directions[name], alpha=by)


def _distance(vlm: Vlm, goals: Goals, *, backward: bool = False) -> float:
    """The mean distance of all images of the request from where they are sent; `backward` adds up its gradients."""
    total, count = 0.0, len(goals.inputs)
    for start in range(0, count, goals.batch):
        drawn = torch.arange(start, min(start + goals.batch, count))
        images = [goals.inputs[place] for place in drawn.tolist()]
        features = visual_features(vlm.model, images) if backward else all_features(vlm.model, images, goals.batch)
        known = goals.known.to(vlm.device) if backward else goals.known
        part = losses.distance(features, goals.goal(drawn), known, goals.identity) * len(drawn) / count
        if backward:
            part.backward()
        total += part.item()
    return total
