"""One run of contrastive visual forgetting: its images, where they go, its loss and its looks."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import Parameter

from unsee.errors import InputError
from unsee.forgetting import losses
from unsee.forgetting.composites import with_composites
from unsee.forgetting.confined import ConfinedWeight
from unsee.forgetting.depths import Given, Levels
from unsee.forgetting.edit import rounded
from unsee.forgetting.goals import Goals
from unsee.forgetting.hardening import Hardening
from unsee.forgetting.holding import Held, held
from unsee.forgetting.output_slopes import output_metrics
from unsee.forgetting.replay import Replay, replay
from unsee.forgetting.settings import FeatureSettings
from unsee.forgetting.training import (
    LOOK_EVERY,
    Bars,
    Progress,
    Schedule,
    TrainingLog,
    Trust,
    train,
)
from unsee.linalg.gram import Gram
from unsee.linalg.output_metric import OutputMetric
from unsee.linalg.subspace import Span, retained_basis, retained_drift, span
from unsee.models.checkpoint import Vlm
from unsee.models.features import Features, Inputs, all_features, joined, visual_features
from unsee.models.outline import last_layers
from unsee.models.prefix import Prefix, prefix_states
from unsee.models.spreading import whole
from unsee.models.weights import assign, frozen_after
from unsee.moments.records import Moments, Photos
from unsee.records import LayerDrift
from unsee.system.device import halved, in_room, sums_on
from unsee.system.memory import Memory
from unsee.system.processes import count, mine, part

NEGATIVES = 32  # target images whose old features are negatives of a step's contrastive loss
WATCHED = 256  # retained images whose drift a look measures
LAYERS_ALONE = "layers alone"  # what they give is held, and nobody stands for those who must be kept
PROBED = 256  # images by which it is measured what is read of the outputs of layers


class FeatureRun:
    """One request: its images, where they go, and the loss; reference features are computed once, here."""

    def __init__(
        self,
        settings: FeatureSettings,
        vlm: Vlm,
        goals: Goals,
        retained: Photos | None,
        moments: Moments,
        bounds: Memory,
    ) -> None:
        self.settings, self.vlm, self.moments, self.retained = settings, vlm, moments, retained
        self.bounds, self.goals = bounds, goals
        self.known = moments.features.to(vlm.device)
        told = partial(losses.identity, retained=moments.features)
        self.coordinates = goals.each(told).to(vlm.device)
        self.coordinates_there = goals.each(told, there=True).to(vlm.device)
        count = 0 if retained is None else len(retained.features)
        self.watched = torch.arange(0, count, max(1, count // WATCHED))
        self.start: dict[str, Tensor] = {}
        self.after: dict[str, Tensor] = {}
        self.drifts: list[LayerDrift] = []
        self.rounding: dict[str, float] = {}
        self.held: list[Held] = []
        self.metrics: dict[str, OutputMetric] = {}
        self.moving: list[str] = []
        self.kept: tuple[list[Inputs], Features] | None = None  # behind the photos' features those of drawn states
        if retained is not None and settings.distill > 0:
            self.kept = with_composites(vlm, retained, settings.composites, goals.seed, bounds.images)
        self.replay = self._replay() if settings.replay > 0 and self._unseen() else None
        if self.replay is not None:
            photos, features = self.kept or ([], self.replay.features[:0])
            self.kept = photos, joined([features, self.replay.features])
        self.nearest = self._nearest()
        self.images = [*goals.inputs, *(self.kept[0] if self.kept else ())]
        self.prefix: tuple[Prefix, list[Tensor]] | None = None
        self.hardening = Hardening(settings, vlm.model, goals, self._apart, bounds.images)
        self.levels: Levels | None = None
        if settings.depths > 0 and retained is None:
            raise InputError(
                "depths tells the target from retained photos at every block; give those, or leave it at 0."
            )
        if settings.depths > 0 and retained is not None:
            trained = [name for turn in self._turns() for name in turn]
            self.levels = Levels(vlm.model, trained, goals.inputs, goals.concept, retained, bounds.images)

    @contextmanager
    def put_back(self) -> Iterator[None]:
        """While open, weights may move; at the end they have their old values again and are frozen."""
        weights = self._weights(name for turn in self._turns() for name in turn)
        with frozen_after(weights):
            try:
                yield
            finally:
                assign(weights, self.start)

    def train(self, seed: int, state: Path | None, key: str, progress: Progress | None) -> list[TrainingLog]:
        """Trains the layers, in turns where the memory asks for it, the last ones first; keeps what came of them."""
        settings, logs, lowest = self.settings, list[TrainingLog](), 1.0
        bars = Bars({"target": settings.stop_target, "drift": settings.stop_drift})
        turns = self._turns()
        for number, names in enumerate(turns):
            most = settings.most_steps()
            steps = most * (number + 1) // len(turns) - most * number // len(turns)
            if not steps:
                continue
            weights, self.moving = self._confined(names), names
            if self.bounds.states:
                self.prefix = prefix_states(
                    self.vlm.model, names[0], self.images, self.bounds.images, self.bounds.states
                )
            hold = 0.0 if isinstance(settings.hold, str) else settings.hold
            if hold > 0:
                self.metrics |= self._metrics(names, seed)
            self.held = held(weights, self.moments, hold, self.metrics)
            self.start |= {name: weight.start for name, weight in weights.items()}
            schedule = Schedule(
                steps, settings.rate, settings.weight_decay, LOOK_EVERY, relative=True, optimizer=settings.optimizer
            )
            log = train(
                weights,
                self.loss,
                self.look,
                bars,
                schedule,
                seed=seed + number,
                trust=Trust({"drift": settings.most_drift}, "target"),
                state=state if state is None or len(turns) == 1 else state.with_stem(f"{state.stem}_{number}"),
                key=key,
                progress=progress,
                smaller=self.smaller,
                shared=True,
                lowest=lowest,
            )
            lowest = log.final.get("target", lowest)
            logs.append(log)
            self.drifts += [self._layer(name, weight) for name, weight in weights.items()]
            for weight in weights.values():
                weight.weight.requires_grad_(False)
            if log.final and bars.reached(log.final):
                break
        self._round()
        return logs

    def smaller(self) -> bool:
        """Halves how many images go through the model at a time; false where it is one already."""
        if self.bounds.images == 1:
            return False
        self.bounds = replace(self.bounds, images=halved(self.bounds.images))
        self.hardening = replace(self.hardening, batch=self.bounds.images)
        return True

    def _unseen(self) -> bool:
        """Whether there is no photo of whom must be kept, so that moments alone say what that is."""
        return self.retained is None or self.retained is self.moments.public

    def _replay(self) -> Replay | None:
        known, layers = self.moments.states, list(self.moments.first)
        if known is None or layers.index(self._turns()[-1][0]) < layers.index(known.layer):
            return None  # what enters a block that comes after one that is trained does not stay what it was
        return replay(self.vlm.model, known, self.goals.inputs[0], self.goals.seed, self.bounds.images)

    def _turns(self) -> list[list[str]]:
        modules, turns = dict(self.vlm.model.named_modules()), list[list[str]]()
        crossings = len(self.moments.features.layout.shapes)
        numbers = 0
        for name in reversed(last_layers(list(self.moments.first), crossings, self.settings.layers())):
            size = modules[name].weight.numel()
            if not turns or numbers + size > self.bounds.weights:
                turns.append([])
                numbers = 0
            turns[-1].insert(0, name)
            numbers += size
        return turns

    def _weights(self, names: Iterable[str]) -> dict[str, Parameter]:
        modules = dict(self.vlm.model.named_modules())
        return {name: modules[name].weight for name in names}

    def _confined(self, names: Sequence[str]) -> dict[str, ConfinedWeight]:
        self.moments.check_layers(names)
        settings, spans, made = self.settings, dict[str, Span](), {}
        for name, weight in self._weights(names).items():
            first = self.moments.first[name]
            if first not in spans and settings.null_space:
                gram = self.moments.grams[first].to(sums_on(self.vlm.device))
                spans[first] = span(gram, settings.criterion, settings.keep, settings.ridge)
            made[name] = ConfinedWeight(weight, spans.get(first), self.vlm.dtype_of(f"{name}.weight"))
            weight.requires_grad_(True)
        return made

    def _metrics(self, names: Sequence[str], seed: int) -> dict[str, OutputMetric]:
        """What is read of each layer's outputs, by some of the images."""
        modules = dict(self.vlm.model.named_modules())
        places = torch.randperm(len(self.images), generator=Generator().manual_seed(seed))[:PROBED]

        def vectors(part: Tensor) -> Tensor:
            return self.known.layout.vectors(self._features(places[part]))

        def made(size: int) -> dict[str, OutputMetric]:
            return output_metrics({name: modules[name] for name in names}, vectors, len(places), size, seed)

        return in_room(made, self.bounds.images)

    def _round(self) -> None:
        """Rounds the trained weights to how they are stored, once, and measures what that changes."""
        looked, weights = self.look(), self._weights(self.start)
        self.after, lost = rounded(self.vlm, weights, self.start)
        assign(weights, {name: self.after[f"{name}.weight"] for name in weights})
        again = self.look()
        self.rounding = {"rounding_share": lost}
        self.rounding |= {f"rounding_{name}": again[name] - looked[name] for name in ("target", "drift")}

    def loss(self, generator: Generator) -> Iterator[Tensor]:
        """The loss of one step on a batch drawn with `generator`, in parts that each take a few images."""
        settings = self.settings
        drawn = torch.randint(len(self.goals.inputs), (settings.batch,), generator=generator)
        kept = drawn[:0]
        if self.kept is not None:
            kept = self._drawn(settings.batch * 3 // 2, generator)
            kept = kept if self.replay is None else kept.sort().values  # photos come before drawn states
        aside = torch.randint(self.goals.wholes, (NEGATIVES,), generator=generator)
        whole = torch.cat([drawn, kept])
        size = min(self.bounds.images, -(-len(whole) // count()))
        for number, start in enumerate(range(0, len(whole), size)):
            if not mine(number):
                continue
            moving = drawn[start : start + size]
            staying = kept[max(0, start - len(drawn)) : max(0, start + size - len(drawn))]
            yield self._part(moving, staying, aside, len(drawn), max(1, len(kept)))
        if self.held and part() == 0:
            yield torch.stack([each.loss() for each in self.held]).sum()
        yield from self.hardening.losses(generator, self.start, self.moving)

    def _drawn(self, count: int, generator: Generator) -> Tensor:
        """Places of so many kept images: a share of them, `near`, from the quarter nearest to the target."""
        near = round(self.settings.near * count)
        close = torch.randint(len(self.nearest), (near,), generator=generator)
        anywhere = torch.randint(len(self.kept[1]) if self.kept else 1, (count - near,), generator=generator)
        return torch.cat([self.nearest[close], anywhere])

    def _nearest(self) -> Tensor:
        """Places of the quarter of the kept images whose coordinates are nearest to those of a target concept."""
        if self.kept is None:
            return torch.zeros(1, dtype=torch.int64)
        own = self.coordinates[: self.goals.images].cpu()
        names = self.goals.own.concept
        means = torch.stack([own[names == name].mean(0) for name in names.unique()])
        there = losses.identity(self.kept[1], self.moments.features)
        order = torch.cdist(there, means).min(1).values.argsort()
        return order[: max(1, len(order) // 4)]

    def _apart(self, places: Tensor, goal: Features) -> Tensor:
        return losses.distance(self._features(places), goal, self.known, self.settings.identity)

    def _part(self, moving: Tensor, staying: Tensor, aside: Tensor, targets: int, keeps: int) -> Tensor:
        settings, known = self.settings, self.known
        watched: AbstractContextManager[Given] = nullcontext({}) if self.levels is None else self.levels.watched()
        with watched as given:
            features = self._features(torch.cat([moving, staying + len(self.goals.inputs)]))
        total = next(iter(features.values.values())).new_zeros(())
        if len(moving):
            moved, share = features[: len(moving)], len(moving) / targets
            if settings.attract > 0:
                apart = losses.distance(moved, self.goals.goal(moving), known, settings.identity)
                total = total + settings.attract * share * apart
            if self.levels is not None:
                total = total + settings.depths * share * self.levels.distance(given, moving)
            wholes = moving < self.goals.wholes  # a blend may not be of the target at all
            if settings.contrast > 0 and wholes.any():
                share = int(wholes.sum()) / targets  # of a mean over these alone
                total = total + settings.contrast * share * self._contrast(moved[wholes], moving[wholes], aside)
        if len(staying) and self.kept is not None:
            photos = int((staying < len(self.kept[0])).sum())
            parts = ((settings.distill, slice(0, photos)), (settings.replay, slice(photos, len(staying))))
            for weight, part in parts:
                if len(places := staying[part]):
                    now, before = features[len(moving) :][part], self.kept[1][places]
                    apart = losses.distance(now, before, known, settings.identity)
                    total = total + weight * len(places) / keeps * apart
        return total

    def _features(self, places: Tensor) -> Features:
        """Features of the images at these places in `images`, and behind these of drawn states, which come last.

        Uses the stored states of the prefix if there are any.
        """
        drawn = places[places >= len(self.images)]
        if self.replay is not None and len(drawn):
            last = self.replay.again(self.vlm.model, drawn - len(self.images))
            seen = places[places < len(self.images)]
            return joined([self._features(seen), last]) if len(seen) else last
        chosen = [self.images[place] for place in places.tolist()]
        if self.prefix is None:
            return visual_features(self.vlm.model, chosen)
        known, states = self.prefix
        with known.given(known.joined([states[place] for place in places.tolist()])):
            return visual_features(self.vlm.model, chosen)

    def _contrast(self, moved: Features, drawn: Tensor, aside: Tensor) -> Tensor:
        return losses.contrast(
            losses.identity(moved, self.known),
            self.coordinates_there[drawn],
            self.coordinates[drawn],
            self.coordinates[aside],
            same=(self.goals.concept[drawn][:, None] == self.goals.concept[aside]).to(moved.device),
            temperature=self.settings.temperature,
        )

    def look(self) -> dict[str, float]:
        """Measures the run: the target's distance to its goal (1 at first), drift of retained features, recognition."""
        return {**self.goals.look(self.vlm), "drift": self._drift()}

    def _drift(self) -> float:
        """Mean squared drift of retained features (1: a stranger apart); without photos, of what is read of layers."""
        if self.retained is None:
            modules = dict(self.vlm.model.named_modules())
            return max(
                retained_drift(
                    whole(modules[name].weight.detach() - start), whole(start), self._gram(name), self.metrics.get(name)
                )
                for name, start in self.start.items()
            )
        watched = [self.retained.inputs[i] for i in self.watched.tolist()]
        features = all_features(self.vlm.model, watched, self.bounds.images)
        return losses.distance(features, self.retained.features[self.watched], self.moments.features, 0.0).item()

    def _gram(self, name: str) -> Gram:
        return self.moments.grams[self.moments.first[name]]

    def _layer(self, name: str, weight: ConfinedWeight) -> LayerDrift:
        """How far one weight moved, measured exactly on its Gram."""
        gram, before = self._gram(name), whole(weight.start).to(weight.weight.dtype)
        delta = whole(weight.weight.detach()) - before
        protected = 0
        if self.settings.null_space and self.settings.criterion != "soft":
            protected = retained_basis(gram, self.settings.criterion, self.settings.keep).shape[1]
        change = (delta.norm() / before.norm()).item()
        return LayerDrift(name, retained_drift(delta, before, gram), change, protected, gram.width)

    def _description(self) -> dict[str, Any]:
        """What described images, and how well it tells concepts apart."""
        how, telling = self.moments.features.layout, self.moments.telling
        tokens = "; ".join(f"{count} {'runs' if how.pooled else 'tokens'}" for count, _ in how.shapes.values())
        found: dict[str, Any] = {"description": tokens if how.basis is None else f"{len(how.basis)} read directions"}
        return found if telling is None else {**found, "told_apart": telling.right, "ridge_apart": telling.ridge}

    def _kept_by(self) -> str:
        """What stands for those who must be kept."""
        if self.retained is not None:
            return "public photos" if self._unseen() else "photos"
        return LAYERS_ALONE if self.replay is None else "drawn states"

    def facts(self) -> dict[str, Any]:
        """What the region turned out to be, and what rounding changed."""
        return {
            **self.goals.facts(),
            "counted_images": self.moments.count,
            **self._description(),
            "kept_by": self._kept_by(),
            "states_drawn": 0 if self.replay is None else len(self.replay.features),
            **self.rounding,
        }
