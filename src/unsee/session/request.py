"""The steps of one request of a session; docs/continual.md tells them in order."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from unsee.api import evaluate
from unsee.benchmarks.benchmark import Benchmark
from unsee.errors import InputError, MissedError
from unsee.evaluation.hearing import AUTO, Ask, Tell, heard_before
from unsee.forgetting.by_features import FeatureMethod
from unsee.forgetting.edit import Edit
from unsee.forgetting.training import Progress
from unsee.linalg.gram import Gram
from unsee.linalg.subspace import retained_drift
from unsee.models.checkpoint import Vlm, visual_hash, visual_parameters, write
from unsee.models.features import Inputs
from unsee.moments.measure import prepare, retained_grams
from unsee.moments.records import Photos
from unsee.records import Sample, Score
from unsee.session.ledger import (
    WEIGHTS,
    BrokenSessionError,
)
from unsee.session.settings import Settings
from unsee.session.state import State
from unsee.system.disk import workspace
from unsee.system.memory import Memory


@dataclass(frozen=True)
class Wanted:
    """What is asked for: an id, the target's photos with their salted hashes, and retained photos if there are any.

    `ask`, `questions` and `by_name` (its `answer_from_folder`) are what the model is asked, see `unsee.forget`.
    """

    identifier: str
    reason: str
    target: list[Sample]
    hashes: list[str]
    kept: list[Sample] | None
    ask: Ask = AUTO
    questions: Sequence[Sample] = ()
    by_name: bool = False


@dataclass(frozen=True, eq=False)
class Work:
    """The model that a request works on, how much is held at once, and where Grams wait."""

    vlm: Vlm
    bounds: Memory
    scratch: Path | None

    def grams(self, images: Sequence[Inputs], state: State) -> Mapping[str, Gram]:
        """What these images put into each layer of which the state has a Gram, on the model as it is now."""
        place = None if self.scratch is None else Path(tempfile.mkdtemp(dir=self.scratch))
        return retained_grams(self.vlm, images, list(state.retained.grams), self.bounds, place)


def patch(vlm: Vlm, weights: Mapping[str, Tensor]) -> None:
    """Sets visual parameters of a model to these values. Raises BrokenSessionError where one does not fit."""
    parameters = visual_parameters(vlm.model, vlm.partition)
    with torch.no_grad():
        for name, value in weights.items():
            if parameters[name].shape != value.shape:
                raise BrokenSessionError(f"{WEIGHTS} holds {name} as {tuple(value.shape)}, which does not fit.")
            parameters[name].copy_(value)


def edited(
    wanted: Wanted,
    settings: Settings,
    seed: int,
    state: State,
    before: Mapping[str, Tensor],
    work: Work,
    progress: Progress | None,
    tell: Tell,
) -> tuple[Edit, str]:
    """Runs the method on the weights of the last request, and leaves the model with those of this one.

    Also returns the hash of the weights before. Retained photos are kept as the model before any request saw them,
    unless the method asks about the photos themselves.
    """
    vlm = work.vlm
    prepared = None
    if wanted.kept and not settings.method.language:
        prepared = prepare(vlm, wanted.kept, work.bounds.images)
    patch(vlm, before)
    hearing = heard_before(
        vlm, wanted.target, wanted.kept or [], seed=seed, ask=wanted.ask, further=wanted.questions,
        by_name=wanted.by_name, tell=tell,
    )  # fmt: skip
    shown = {id(sample) for sample in hearing.parts.shown}
    photos: Sequence[Sample] | Photos | None = None if wanted.kept is None else hearing.parts.shown
    if wanted.kept and prepared is not None:
        pictured = [sample for sample in wanted.kept if sample.image is not None]
        photos = prepared.only([place for place, sample in enumerate(pictured) if id(sample) in shown])
    edit = settings.method.forget(
        vlm,
        hearing.parts.used,
        photos,
        moments=state.confining(settings.guard),
        seed=seed,
        memory=settings.memory,
        progress=progress,
    )
    final = edit.method.get("final")
    if isinstance(settings.method, FeatureMethod):
        share, verdict = hearing.best_share(vlm, edit.weights, final)
        edit = edit.scaled(share)
    else:
        verdict = hearing.verdict(edit.weights, final)
    replies = hearing.replies(edit.weights) if wanted.questions else ()
    hash_before = visual_hash(vlm)
    patch(vlm, edit.weights)
    return replace(edit, verdict=verdict, replies=replies), hash_before


def without(state: State, wanted: Wanted, work: Work) -> State:
    """The state without the request's photos that were counted as retained, on the model on which they were."""
    there = set(state.retained.hashes)
    known = {digest: photo for digest, photo in zip(wanted.hashes, wanted.target, strict=True) if digest in there}
    if not known:
        return state
    counted = prepare(work.vlm, list(known.values()), work.bounds.images)
    vectors = state.retained.features.layout.vectors(counted.features)
    return state.without(tuple(known), vectors, work.grams(counted.inputs, state))


def guarded(state: State, wanted: Wanted, work: Work) -> State:
    """The state with what the request's photos put into each layer of the model after it."""
    return state.guarded(work.grams(prepare(work.vlm, wanted.target, work.bounds.images).inputs, state))


def drifts(now: Vlm, base: Vlm, state: State) -> dict[str, float]:
    """tr(D G D^T) / tr(W G W^T) of each layer, D its change since the session began, G of the retained."""
    moved, start = (visual_parameters(vlm.model, vlm.partition) for vlm in (now, base))
    found = {}
    for layer, first in state.retained.first.items():
        before = start[f"{layer}.weight"].detach()
        delta = moved[f"{layer}.weight"].detach() - before
        found[layer] = retained_drift(delta, before, state.retained.grams[first]) if delta.any() else 0.0
    return found


def warnings(known: int, shown: int) -> list[str]:
    """What the operator should know where `known` of the `shown` photos were counted as retained."""
    if known == shown:
        return []
    if known:
        return [
            f"{known} of {shown} target images were among the retained ones and are taken out; "
            "other photos of the same target that were, and were not shown now, still count as retained"
        ]
    return [
        f"none of the {shown} target images was among the retained ones, so that nothing was taken out; "
        "if other photos of the same target were, they still count as retained"
    ]


def check_drift(drift: Mapping[str, float], bound: float | None) -> None:
    """Raises InputError naming the layers whose drift is above the bound, if there is one."""
    full = sorted((name for name, value in drift.items() if bound is not None and value > bound), key=drift.__getitem__)
    if not full:
        return
    listed = ", ".join(f"{name} {drift[name]:.3g}" for name in full[:-5:-1])
    more = f" and {len(full) - 4} more" if len(full) > 4 else ""
    raise InputError(
        f"the request would exceed the drift budget of {bound:g} in {len(full)} layers ({listed}{more}); "
        "nothing was written. Give a gentler method, or make a new session on the exported model."
    )


def check_verdict(edit: Edit, *, keep_anyway: bool) -> None:
    """Raises MissedError where the request did not reach its aim, unless it is to be kept anyway."""
    if edit.verdict is not None and not edit.verdict.passed and not keep_anyway:
        raise MissedError(f"{edit.verdict.sentence()} {edit.verdict.missing()} The session stays as it was.")


def scores(
    base: Vlm, before: Mapping[str, Tensor], after: Mapping[str, Tensor], benchmark: Benchmark | str, session: Path
) -> list[Score]:
    """Of a benchmark with these weights in the place of the model's, on checkpoints beside the session that then go."""
    with workspace(session.absolute().parent, session.name) as place:
        folders = [place / name for name in ("before", "after")]
        for folder, weights in zip(folders, (before, after), strict=True):
            folder.mkdir()
            write(base, weights, folder)
        return evaluate(folders[1], before=folders[0], benchmark=benchmark).scores
