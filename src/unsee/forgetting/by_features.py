"""One request by contrastive visual forgetting, each step confined; the engine of the methods that train.

Source: arXiv 2605.05909 for the idea; docs/method.md says what is ours.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from unsee.data import validate
from unsee.forgetting.edit import Edit, settings_of
from unsee.forgetting.feature_run import FeatureRun
from unsee.forgetting.goals import Goals, GoalSettings
from unsee.forgetting.regions import RegionSettings
from unsee.forgetting.settings import FeatureSettings
from unsee.forgetting.training import Progress, recomputed
from unsee.models.checkpoint import Vlm
from unsee.models.outline import SHARE
from unsee.moments.measure import prepare, waiting_place
from unsee.moments.reading import Reader
from unsee.moments.records import AUTO, Moments, Photos
from unsee.records import Sample
from unsee.system.disk import temporary_place
from unsee.system.memory import Memory
from unsee.system.tensors import fingerprint


@dataclass(frozen=True)
class FeatureMethod(FeatureSettings, ABC):
    """A method that moves features. Each method only says what is known of the retained photos (`known`)."""

    name: ClassVar[str]
    language: ClassVar[bool] = False

    @abstractmethod
    def known(
        self,
        vlm: Vlm,
        target: Sequence[Sample],
        retained: Sequence[Sample] | Photos | None,
        moments: Moments | None,
        seed: int,
        bounds: Memory,
        scratch: Path | None,
        reader: Reader | None = None,
    ) -> tuple[Photos | None, Moments]:
        """The retained photos, if there are any, and their moments; Grams may wait in the folder `scratch`."""

    def attempts(self, *, asked: bool) -> list[Self]:
        """The settings to try, each where training by those before it moved what the model does not read.

        Where the model is `asked`, what it reads describes images at first; on some models means of tokens may say
        better who somebody is, and no measure told which before training (docs/log.md).
        """
        return [self, replace(self, runs=1)] if asked and self.runs == AUTO else [self]

    def longer(self, concepts: int) -> Self | None:
        """The same with twice the steps of a request about so many people or things; None where steps were given."""
        return replace(self, steps=2 * self.sized(concepts).most_steps()) if self.steps == AUTO else None

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
        reader: Reader | None = None,
    ) -> Edit:
        """Forgets what is on the target images; see `Method.forget`. A `reader` is asked what the model reads."""
        bounds = vlm.bounds(memory)
        place = temporary_place() if state is None else state.parent
        with waiting_place(bounds, place, "unsee") as scratch:
            started = time.monotonic()
            validate(target, "target")
            concepts = len({sample.concept for sample in target})
            settings = self.sized(concepts)
            photos, known = settings.known(vlm, target, retained, moments, seed, bounds, scratch, reader)
            unseen = photos is None or photos is known.public
            settings = settings.holding(concepts, 0 if photos is None or unseen else len(photos.inputs))
            if unseen and known.states is not None and self.share == AUTO:
                settings = replace(settings, share=SHARE)  # the layers for which states are known
            measured = time.monotonic() - started
            return contrastive(
                settings,
                vlm,
                target,
                photos,
                known,
                seed=seed,
                memory=memory,
                measured=measured,
                state=state,
                progress=progress,
                reader=reader,
            )


def contrastive(
    settings: FeatureMethod,
    vlm: Vlm,
    target: Sequence[Sample],
    retained: Photos | None,
    moments: Moments,
    *,
    seed: int,
    memory: str,
    measured: float,
    state: Path | None = None,
    progress: Progress | None = None,
    reader: Reader | None = None,
) -> Edit:
    """Trains the model to send the target's features to their region; its own weights are put back afterwards.

    `measured` is how many seconds the moments took, for the record.
    """
    started = time.monotonic()
    bounds = vlm.bounds(memory)
    shown = prepare(vlm, target, bounds.images)
    along = RegionSettings(settings.modes, settings.directions, settings.reach, seed, settings.aside)
    views = settings.views_of(len(shown.pictures))
    wanted = GoalSettings(settings.region, along, views, settings.blends, settings.identity)
    others = () if retained is None else retained.pictures
    goals = Goals(vlm, shown, moments.features, wanted, bounds.images, others, reader, bounds.variations)
    run = FeatureRun(settings, vlm, goals, retained, moments, bounds)
    seen = shown.hashes + (() if retained is None else retained.hashes)
    asked = () if reader is None else (reader.question, reader.unnamed)
    key = fingerprint(str(settings), memory, str(seed), moments.model, *asked, *moments.hashes, *seen)
    with recomputed(vlm.model) if bounds.frugal else nullcontext(), run.put_back():
        logs = run.train(seed, state, key, progress)
    return Edit(
        vlm=vlm,
        weights=run.after,
        method={
            "name": settings.name,
            **settings_of(settings),
            "memory": memory,
            "steps_made": sum(log.steps for log in logs),
            "looks": [look for log in logs for look in log.looks],
            "final": next((log.final for log in reversed(logs) if log.final), {}),
            **run.facts(),
        },
        seed=seed,
        stopped=logs[-1].stopped,
        layers=run.drifts,
        timings={"moments_s": round(measured, 2), "forget_s": round(time.monotonic() - started, 2)},
    )
