"""How requests become part of a session: run, judged, and written all at once, or not at all."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from unsee import __version__
from unsee.api import evaluate
from unsee.benchmarks.benchmark import Benchmark
from unsee.errors import InputError, check_kind
from unsee.evaluation.hearing import Tell
from unsee.evaluation.own import reply_scores
from unsee.forgetting.edit import Edit
from unsee.forgetting.training import Progress
from unsee.models.checkpoint import Vlm, visual_hash
from unsee.models.checkpoint import write as write_checkpoint
from unsee.moments.file import save as save_moments
from unsee.records import SCHEMA, Score
from unsee.session import certificate
from unsee.session.certificate import Signer
from unsee.session.ledger import (
    CERTIFICATES,
    IDENTIFIER,
    KEPT,
    STATE,
    UNDO,
    WEIGHTS,
    Entry,
    queue_file,
    queued,
    standing,
)
from unsee.session.request import (
    Asked,
    Wanted,
    Work,
    by_layer,
    check_drift,
    check_verdict,
    drifts,
    edited,
    guarded,
    known,
    layers,
    warnings,
    without,
)
from unsee.session.secret import Secret
from unsee.session.settings import Settings
from unsee.session.state import State
from unsee.session.store import Store, link
from unsee.system.disk import workspace
from unsee.system.environment import environment, now


def check_id(identifier: str, entries: Sequence[Entry]) -> None:
    """Raises InputError for an id that cannot be one or was used."""
    check_kind("the id", identifier, str, "up to 64 letters, digits, dots or dashes")
    if not IDENTIFIER.fullmatch(identifier):
        raise InputError(f"the id {identifier!r} cannot be used; expected up to 64 letters, digits, dots or dashes.")
    used = {str(entry.facts.get("id", "")).casefold() for entry in entries}
    if identifier.casefold() in used:  # on some disks files that differ by case alone are one
        raise InputError(f"the id {identifier} was used before; give each request an id of its own.")


def check_new(salted: Sequence[str], entries: Sequence[Entry]) -> None:
    """Raises InputError where a photo was forgotten before, or waits to be."""
    for requests, what in ((standing(entries), "was forgotten before, by"), (queued(entries), "waits already, in")):
        for entry in requests:
            if set(salted) & set(entry.facts["target_hashes"]):
                raise InputError(
                    f"an image of the target {what} the request {entry.facts['id']}; leave out what that one had."
                )


def enter(
    store: Store,
    settings: Settings,
    wanted: Wanted,
    counted: State,
    before: Mapping[str, Tensor],
    work: Work,
    signer: Signer,
    secret: Secret | None,
    *,
    reopened: Callable[[], Vlm],
    started: float,
    benchmark: Benchmark | str | None,
    keep_undo: bool,
    keep_anyway: bool,
    progress: Progress | None,
    tell: Tell,
) -> list[dict[str, Any]]:
    """Makes requests as one edit on the model of before any request, with the state and weights of the last one.

    `reopened` gives that model once more, for the scores of a benchmark.
    Returns their certificates. Raises InputError, and enters nothing, where a drift is above the bound, and MissedError
    where they did not reach their aim, unless they are kept anyway.
    """
    base, start = work.vlm, layers(work.vlm, counted)
    state = without(counted, wanted, work)
    seed = settings.seed + len(store.entries)
    edit, hash_before = edited(wanted, settings, seed, state, before, work, progress, tell)
    check_verdict(edit, keep_anyway=keep_anyway)
    drift = drifts(base, start, state)
    check_drift(drift, settings.max_drift)
    after = {**before, **{name: value.contiguous() for name, value in edit.weights.items()}}
    state = guarded(state, wanted, start | by_layer(before), by_layer(after), work)
    measured = reply_scores(edit.replies) if edit.replies else []
    hash_after = visual_hash(base)
    if benchmark is not None:
        measured += scores(reopened(), before, after, benchmark, store.folder)
    same = {
        "weights_before": hash_before,
        "weights_after": hash_after,
        "drift": drift,
        "scores": [asdict(score) for score in measured],
        "undo_kept": keep_undo,
        "seconds": round(time.monotonic() - started, 2),
    }
    made = [
        signer.signed(_facts(number, request, wanted, edit, counted, state, store.entries) | same)
        for number, request in enumerate(wanted.requests, len(standing(store.entries)) + 1)
    ]
    _commit(store, made, state, after, signer, secret)
    return made


def _facts(
    number: int, request: Asked, wanted: Wanted, edit: Edit, counted: State, state: State, entries: Sequence[Entry]
) -> dict[str, Any]:
    """What a certificate says, but for the weights and what was measured on them."""
    taken = len(known(counted, request))
    facts = {
        "schema": SCHEMA,
        "unsee": __version__,
        "time": now(),
        "id": request.identifier,
        "number": number,
        "reason": request.reason,
        "target_images": len(request.hashes),
        "target_hashes": request.hashes,
        "taken_out_of_statistics": taken,
        "retained_images": len(wanted.others.kept or ()),
        "retained_statistics": state.retained.count,
        "seed": edit.seed,
        "method": {name: value for name, value in edit.facts().items() if name != "looks"},
        "verdict": unnamed(edit.told()),
        "changed": sorted(edit.weights),
        "protected_tensors": len(edit.vlm.partition.protected),
        "warnings": warnings(taken, len(request.hashes), request.skipped),
        "previous": entries[-1].hash,
        "environment": environment(),
    }
    if wanted.others.public is not None:
        facts["public_images"] = len(wanted.others.public.hashes)
    return facts | ({"queued": request.since, "settled_together": len(wanted.requests)} if request.since else {})


def _commit(
    store: Store,
    made: Sequence[dict[str, Any]],
    state: State,
    weights: Mapping[str, Tensor],
    signer: Signer,
    secret: Secret | None,
) -> None:
    """Puts the files of requests in their places, all at once, and takes the photos of those that waited away."""
    first, weighed = made[0], ("weights_before", "weights_after")
    if "queued" in first:
        ids = [each["id"] for each in made]
        event, facts, gone = "settle", {"ids": ids}, [queue_file(identifier) for identifier in ids]
    else:
        event, gone = "forget", []
        facts = {name: first[name] for name in ("id", "reason", "target_hashes", "undo_kept")}
    facts |= {name: first[name] for name in weighed} | signer.facts
    with store.change(event, facts, remove=gone, sign=signer.sign) as files:
        save_moments(state.retained, files / STATE, state.guard, state.anchors, cipher=secret)
        save_file(dict(weights), files / WEIGHTS, metadata={"format": "pt"})
        for each in made:
            certificate.save(each, files / CERTIFICATES / f"{each['id']}.json")
        if first["undo_kept"]:
            for name in KEPT:
                link(store.path(name), files / UNDO / first["id"] / name)


def unnamed(verdict: dict[str, Any] | None) -> dict[str, Any] | None:
    """A verdict without its notes, which say names of folders and answers."""
    return None if verdict is None else {**verdict, "notes": ()}


def scores(
    base: Vlm, before: Mapping[str, Tensor], after: Mapping[str, Tensor], benchmark: Benchmark | str, session: Path
) -> list[Score]:
    """Of a benchmark with these weights in the place of the model's, on checkpoints beside the session that then go."""
    with workspace(session.absolute().parent, session.name) as place:
        folders = [place / name for name in ("before", "after")]
        for folder, weights in zip(folders, (before, after), strict=True):
            folder.mkdir()
            write_checkpoint(base, weights, folder)
        return evaluate(folders[1], before=folders[0], benchmark=benchmark).scores
