"""The steps of one request of a session, or of several settled as one; docs/continual.md tells them in order."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import Parameter

from unsee import data
from unsee.errors import InputError, MissedError
from unsee.evaluation.asking import asked_again
from unsee.evaluation.hearing import AUTO, Ask, Tell, heard_before
from unsee.forgetting.by_features import FeatureMethod
from unsee.forgetting.edit import Edit
from unsee.forgetting.training import Progress
from unsee.linalg.anchor import Anchor
from unsee.linalg.gram import Gram
from unsee.linalg.subspace import retained_drift
from unsee.methods.attempts import best_edit
from unsee.models.checkpoint import Vlm, visual_hash, visual_parameters
from unsee.models.features import Inputs
from unsee.models.weights import assign
from unsee.moments.measure import prepare, retained_grams
from unsee.moments.records import Photos
from unsee.moments.states import entering
from unsee.records import Sample
from unsee.session.ledger import WEIGHTS, BrokenSessionError
from unsee.session.settings import Settings
from unsee.session.state import State
from unsee.system.memory import Memory


@dataclass(frozen=True)
class Asked:
    """One request: its id, why, the target's photos with their salted hashes, and since when it waits, if it does.

    So many files were `skipped`, because they could not be read.
    """

    identifier: str
    reason: str
    target: list[Sample]
    hashes: list[str]
    since: str = ""
    skipped: int = 0


@dataclass(frozen=True, eq=False)
class Others:
    """Photos of others: retained ones, as samples and ready with the features of before any request, and public ones.

    They are ready where the method does not ask about the photos themselves.
    """

    kept: list[Sample] | None = None
    ready: Photos | None = None
    public: Photos | None = None


@dataclass(frozen=True)
class Wanted:
    """Requests to be made as one edit, and what the model is asked, see `unsee.forget` (`by_name`: from the folder).

    With `drop_similar`, retained photos that the model takes for a target are left out.
    """

    requests: tuple[Asked, ...]
    others: Others
    ask: Ask = AUTO
    questions: Sequence[Sample] = ()
    by_name: bool = False
    drop_similar: bool = False

    @property
    def target(self) -> list[Sample]:
        """The photos of all requests. Of several requests, concepts are called after their request too.

        Not so where their names are the right answers.
        """
        if len(self.requests) == 1 or self.by_name:
            return [sample for request in self.requests for sample in request.target]
        return [
            replace(sample, concept=f"{request.identifier} {sample.concept}")
            for request in self.requests
            for sample in request.target
        ]


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


def _parameters(vlm: Vlm) -> dict[str, Parameter]:
    return visual_parameters(vlm.model, vlm.partition)


def layers(vlm: Vlm, state: State) -> dict[str, Tensor]:
    """The weights of all layers that may be trained, by layer, as they are now and in the dtype they are stored in."""
    parameters = _parameters(vlm)
    return {
        name: parameters[f"{name}.weight"].detach().to(vlm.dtype_of(f"{name}.weight"), copy=True)
        for name in state.retained.first
    }


def by_layer(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of linear layers among parameters, by layer."""
    return {name.removesuffix(".weight"): value for name, value in weights.items() if name.endswith(".weight")}


def patch(vlm: Vlm, weights: Mapping[str, Tensor]) -> None:
    """Sets visual parameters of a model to these values. Raises BrokenSessionError where one does not fit."""
    parameters = _parameters(vlm)
    for name, value in weights.items():
        if parameters[name].shape != value.shape:
            raise BrokenSessionError(f"{WEIGHTS} holds {name} as {tuple(value.shape)}, which does not fit.")
    assign(parameters, weights)


@asked_again()
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
    with data.unchanged([*wanted.target, *(wanted.others.kept or ())]):
        vlm, others = work.vlm, wanted.others
        start = {name: value.detach().clone() for name, value in _parameters(vlm).items() if name in before}
        patch(vlm, before)
        hearing = heard_before(
            vlm, wanted.target, others.kept or [], seed=seed, ask=wanted.ask, further=wanted.questions,
            by_name=wanted.by_name, drop_similar=wanted.drop_similar, tell=tell,
        ).knowing(state.retained.unnamed)  # fmt: skip
        photos: Sequence[Sample] | Photos | None = None if others.kept is None else hearing.parts.shown
        if others.kept is not None and others.ready is not None:
            shown = {id(sample) for sample in hearing.parts.shown}
            photos = others.ready.only([place for place, sample in enumerate(others.kept) if id(sample) in shown])
        method, moments = settings.maker, replace(state.confining(settings.guard), public=others.public)
        given: dict[str, Any] = {"moments": moments, "seed": seed, "memory": settings.memory, "progress": progress}
        if isinstance(method, FeatureMethod):
            edit = best_edit(method, vlm, hearing, photos, tell, **given)
        else:
            edit = method.forget(vlm, hearing.parts.used, photos, **given)
            edit = replace(edit, verdict=hearing.verdict(edit.weights, edit.method.get("final")))
        if start and edit.verdict is not None and edit.verdict.question:
            counts = {**edit.verdict.counts, "since_kept": hearing.since(start, edit.weights)}
            edit = replace(edit, verdict=replace(edit.verdict, counts=counts))
        replies = hearing.replies(edit.weights) if wanted.questions else ()
        hash_before = visual_hash(vlm)
        patch(vlm, edit.weights)
        return replace(edit, replies=replies), hash_before


def known(state: State, request: Asked) -> dict[str, Sample]:
    """Those of a request's photos that are counted as retained, by their salted hashes."""
    there = set(state.retained.hashes)
    return {digest: photo for digest, photo in zip(request.hashes, request.target, strict=True) if digest in there}


def without(state: State, wanted: Wanted, work: Work) -> State:
    """The state without the photos asked about that were counted as retained, on the model on which they were."""
    counted = {digest: photo for request in wanted.requests for digest, photo in known(state, request).items()}
    if not counted:
        return state
    hashes = tuple(digest for digest in state.retained.hashes if digest in counted)  # one that lay there twice, twice
    ready = prepare(work.vlm, [counted[digest] for digest in hashes], work.bounds.images)
    vectors = state.retained.features.layout.vectors(ready.features)
    known_states, states = state.retained.states, None
    if known_states is not None:
        states = entering(work.vlm.model, known_states.layer, ready.inputs, work.bounds.images)
    return state.without(hashes, vectors, work.grams(ready.inputs, state), states)


def guarded(
    state: State, wanted: Wanted, before: Mapping[str, Tensor], after: Mapping[str, Tensor], work: Work
) -> State:
    """The state with what the photos of each request put into each layer of the model after it.

    `before` and `after` are as for `State.guarded`.
    """
    for request in wanted.requests:
        images = prepare(work.vlm, request.target, work.bounds.images).inputs
        state = state.guarded(work.grams(images, state), before, after)
    return state


def anchored(
    guard: Mapping[str, Gram], first: Mapping[str, str], weights: Mapping[str, Tensor], name: Path
) -> Mapping[str, Anchor]:
    """The anchors of a guard that was kept without them, at the weights of now, by layer.

    Exact for one target, because nothing came after it. Raises InputError where there are more.
    """
    targets = max((round(gram.count) for gram in guard.values()), default=0)
    if targets > 1:
        raise InputError(
            f"{name} is of an older version and does not say what each layer gave after each of {targets} requests; "
            "export the model, and make a new session on it."
        )
    return {layer: Anchor.of(weight, guard[first[layer]]) for layer, weight in weights.items()} if targets else {}


def drifts(now: Vlm, start: Mapping[str, Tensor], state: State) -> dict[str, float]:
    """tr(D G D^T) / tr(W G W^T) of each layer, D its change since `start`, by layer, G of the retained."""
    moved = _parameters(now)
    found = {}
    for layer, first in state.retained.first.items():
        after = moved[f"{layer}.weight"].detach()
        before = start[layer].to(after.dtype)
        delta = after - before
        found[layer] = retained_drift(delta, before, state.retained.grams[first]) if delta.any() else 0.0
    return found


def warnings(counted: int, shown: int, skipped: int) -> list[str]:
    """What the operator should know where `counted` of the `shown` photos were counted as retained.

    So many files were `skipped`, because they could not be read.
    """
    unread = [f"{skipped} files of the target could not be read and were skipped"] if skipped else []
    if counted == shown:
        return unread
    if counted:
        return [
            *unread,
            f"{counted} of {shown} target images were among the retained ones and are taken out; "
            "other photos of the same target that were, and were not shown now, still count as retained",
        ]
    return [
        *unread,
        f"none of the {shown} target images was among the retained ones, so that nothing was taken out; "
        "if other photos of the same target were, they still count as retained",
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
        raise MissedError(
            f"{edit.verdict.sentence()} {edit.verdict.missing()} A session's settings are given when it is made, with "
            "unsee session init. The session stays as it was."
        )
