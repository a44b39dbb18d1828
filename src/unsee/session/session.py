"""Requests that arrive one after the other over years, on one model: forgotten, remembered, taken back."""

import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unsee import __version__, data
from unsee.api import Images, evaluate
from unsee.benchmarks.benchmark import Benchmark
from unsee.errors import InputError
from unsee.evaluation.evaluate import language_model_unchanged
from unsee.forgetting.edit import write_record
from unsee.forgetting.training import Progress
from unsee.linalg.gram import Gram
from unsee.linalg.subspace import retained_drift
from unsee.methods import Method
from unsee.models.checkpoint import Vlm, hashes, load, visual_hash, visual_parameters
from unsee.models.checkpoint import write as write_checkpoint
from unsee.models.features import Inputs
from unsee.moments.file import read_guarded
from unsee.moments.file import save as save_moments
from unsee.moments.measure import measure, prepare, retained_grams, waiting_place
from unsee.records import Check, Sample
from unsee.session import certificate, secret, settings
from unsee.session.certificate import Signer
from unsee.session.ledger import (
    CERTIFICATES,
    IDENTIFIER,
    KEPT,
    SETTINGS,
    STATE,
    UNDO,
    WEIGHTS,
    BrokenSessionError,
    Entry,
    files_of,
    head,
    signing_key,
    standing,
    weights_of,
)
from unsee.session.secret import Secret, salted
from unsee.session.settings import GUARD, SINGLE, Settings
from unsee.session.state import State
from unsee.session.store import Store, check_hashes, creation, link
from unsee.system.disk import workspace
from unsee.system.environment import environment
from unsee.system.memory import Memory, plan
from unsee.system.output import with_folder

FREE = 0.01  # energy, in units of the mean, at which a direction counts as half free


def create(
    folder: Path | str,
    model: str | Path,
    retain: Images,
    *,
    method: Method | None = None,
    seed: int = 0,
    memory: str = "normal",
    guard: float = GUARD,
    max_drift: float | None = None,
    key: Path | None = None,
    secret_file: Path | None = None,
    trust_remote_code: bool = False,
) -> None:
    """Makes a session: measures the retained images once, and hashes every file of the model.

    Without `method`, each request is made by NSCVF with settings for one target at a time. With `key`, every entry of
    the ledger is signed. With `secret_file`, the operator's secret outside the folder, hashes of photos are keyed by it
    and the guard is encrypted with it; each request needs it again.

    Raises InputError where `folder` exists, the model or the images cannot be used, or the method would change the
    language model.
    """
    settings.check(guard, max_drift)
    method = method or SINGLE
    if getattr(method, "scope", "visual") in ("language", "all"):
        raise InputError("a session changes no language model; give the method the scope visual or projector.")
    salt, signer = secrets.token_hex(16), certificate.read_key(key)
    hidden = None if secret_file is None else secret.read(secret_file, Path(folder), salt)
    facts: dict[str, Any] = {**signer.facts}
    with creation(Path(folder), facts, signer.sign) as files:
        vlm = load(model, trust_remote_code=trust_remote_code)
        samples = _samples(retain)
        data.validate(samples, "retained")
        bounds = plan(memory, sum(vlm.partition.groups.values()))
        with waiting_place(bounds, files.parent, "moments") as scratch:
            moments, _ = measure(vlm, samples, method.moment_settings(seed), bounds, scratch)
            hashed = tuple(salted(digest, salt, hidden) for digest in moments.hashes)
            save_moments(replace(moments, hashes=hashed), files / STATE, {})
        save_file({}, files / WEIGHTS, metadata={"format": "pt"})
        mark = "" if hidden is None else hidden.mark
        made = Settings(str(vlm.folder.absolute()), salt, mark, method, seed, memory, guard, max_drift)
        settings.write(made, files / SETTINGS)
        facts |= {
            "unsee": __version__,
            "weights_after": moments.model,
            "retained_images": moments.count,
            "model_files": hashes(vlm.folder),
            "environment": environment(),
        }


@dataclass(frozen=True)
class Capacity:
    """Of one Gram: its layer, width, directions still free at first and now, and the layer's drift so far."""

    layer: str
    width: int
    free_before: float
    free: float
    drift: float


class Session:
    """A session to look at and to change. Nothing is locked or written but while a change is made."""

    def __init__(self, folder: Path | str, *, secret_file: Path | None = None, trust_remote_code: bool = False) -> None:
        """Raises InputError where it is no session, BrokenSessionError where it was tampered with.

        Looked at are the ledger and the files that requests build on; `verify` looks at everything. `secret_file` is
        needed by requests and `capacity` where the session was made with one.
        """
        self.store = Store(Path(folder))
        self.trust_remote_code = trust_remote_code
        self._check_base()
        self.settings = settings.read(self.store.path(SETTINGS))
        self._secret = None if secret_file is None else self._opened(secret_file)

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.store.folder

    @property
    def entries(self) -> list[Entry]:
        """The ledger."""
        return list(self.store.entries)

    @property
    def head(self) -> str:
        """Where the ledger ends: the last hash, the number of entries, and when. Keep it elsewhere, for `verify`."""
        return head(self.store.entries)

    def standing(self) -> list[Entry]:
        """The requests that were not taken back, in their order."""
        return standing(self.store.entries)

    def _check_base(self) -> None:
        expected = files_of(self.store.entries)
        check_hashes(self.store, {name: expected[name] for name in (SETTINGS, *KEPT)})

    def _opened(self, file: Path) -> Secret:
        found = secret.read(file, self.folder, self.settings.salt)
        if not self.settings.secret:
            raise InputError(f"{self.folder} was made without a secret; leave --secret out.")
        if found.mark != self.settings.secret:
            raise InputError(f"{file} is not the secret that {self.folder} was made with; give that one.")
        return found

    def _check_secret(self) -> None:
        if self.settings.secret and self._secret is None:
            raise InputError(f"{self.folder} was made with a secret; give its file with --secret.")

    @contextmanager
    def _changing(self, key: Path | None) -> Iterator[Signer]:
        """Locks the session for one change, and gives who signs it.

        Raises InputError where the entries so far are signed and `key` is not their key, or they do not hold.
        """
        signer = certificate.read_key(key)
        with self.store.locked():
            self._check_base()
            entries = self.store.entries
            expected = signing_key(entries)
            if expected is not None and signer.facts.get("public_key") != expected:
                raise InputError(
                    f"every entry of {self.folder} is signed; give the key that they are signed with (--key FILE)."
                )
            certificate.check_entries(entries, expected)
            yield signer

    def forget(
        self,
        target: Images,
        identifier: str,
        *,
        reason: str = "",
        retain: Images | None = None,
        benchmark: Benchmark | str | None = None,
        keep_undo: bool = False,
        key: Path | None = None,
        progress: Progress | None = None,
    ) -> dict[str, Any]:
        """Makes the model forget what is on the target images, after everything before; the folder changes at the end.

        Retained images are optional; they are kept as the model saw them before any request. Images of forgotten
        targets among them are left out. With `benchmark`, the certificate has the scores before and after. Returns the
        certificate.

        Raises InputError, and leaves the session as it was, for an id that was used, an image that was forgotten
        before, a model that is not the session's, or a drift above the session's bound.
        """
        started = time.monotonic()
        self._check_secret()
        with self._changing(key) as signer:
            self._check_id(identifier)
            vlm, samples = self.base(language=self.settings.method.language), _samples(target)
            given = [self._salted(digest) for digest in data.validate(samples, "target")]
            self._check_new(given)
            bounds = plan(self.settings.memory, sum(vlm.partition.groups.values()))
            with waiting_place(bounds, self.folder.absolute().parent, self.folder.name) as scratch:
                counted = self._state(vlm)
                state = _without(counted, vlm, samples, given, bounds, scratch)
                kept = None if retain is None else self._kept(_samples(retain), set(given))
                # As the model before any request sees them, unless the method asks about the photos themselves.
                whole = kept is None or self.settings.method.language
                photos = kept if whole else prepare(vlm, kept or [], bounds.images)
                before = self.weights()
                patch(vlm, before)
                edit = self.settings.method.forget(
                    vlm,
                    samples,
                    photos,
                    moments=state.confining(self.settings.guard),
                    seed=self.settings.seed + len(self.store.entries),
                    memory=self.settings.memory,
                    progress=progress,
                )
                hash_before = visual_hash(vlm)
                patch(vlm, edit.weights)
                drift = _drifts(vlm, self.base(), state)
                self._check_drift(drift)
                after = before | {name: value.contiguous() for name, value in edit.weights.items()}
                inputs = prepare(vlm, samples, bounds.images).inputs
                state = state.guarded(_grams(vlm, inputs, state, bounds, scratch))
                taken = counted.retained.count - state.retained.count
                facts = {
                    "unsee": __version__,
                    "time": datetime.now(UTC).isoformat(timespec="seconds"),
                    "id": identifier,
                    "number": len(self.standing()) + 1,
                    "reason": reason,
                    "target_images": len(given),
                    "target_hashes": given,
                    "taken_out_of_statistics": taken,
                    "retained_images": len(kept or ()),
                    "retained_statistics": state.retained.count,
                    "seed": edit.seed,
                    "method": {name: value for name, value in edit.facts().items() if name != "looks"},
                    "weights_before": hash_before,
                    "weights_after": visual_hash(vlm),
                    "changed": sorted(edit.weights),
                    "protected_parameters": len(vlm.partition.protected),
                    "drift": drift,
                    "scores": [] if benchmark is None else self._scores(before, after, benchmark),
                    "warnings": _warnings(taken, len(given)),
                    "undo_kept": keep_undo,
                    "previous": self.store.entries[-1].hash,
                    "environment": environment(),
                    "seconds": round(time.monotonic() - started, 2),
                }
                made = signer.signed(facts)
                self._commit(made, state, after, signer)
        return made

    def _commit(self, made: dict[str, Any], state: State, weights: Mapping[str, Tensor], signer: Signer) -> None:
        """Puts a request's files in their places, all at once."""
        same = ("id", "reason", "target_hashes", "weights_before", "weights_after", "undo_kept")
        facts = {name: made[name] for name in same} | signer.facts
        with self.store.change("forget", facts, sign=signer.sign) as files:
            save_moments(state.retained, files / STATE, state.guard, cipher=self._secret)
            save_file(dict(weights), files / WEIGHTS, metadata={"format": "pt"})
            certificate.save(made, files / CERTIFICATES / f"{made['id']}.json")
            if made["undo_kept"]:
                for name in KEPT:
                    link(self.store.path(name), files / UNDO / made["id"] / name)

    def undo(self, identifier: str, *, key: Path | None = None) -> None:
        """Takes back the last request that stands: weights and state are again, bit for bit, what they were before it.

        Raises InputError where it is not the last one, or its undo data was not kept.
        """
        with self._changing(key) as signer:
            requests, expected = self.standing(), files_of(self.store.entries)
            if identifier not in [entry.facts["id"] for entry in requests]:
                raise InputError(f"there is no request {identifier} to take back; see unsee session log.")
            last = requests[-1]
            if last.facts["id"] != identifier:
                raise InputError(
                    f"{identifier} is not the last request: {last.facts['id']} came after it; take that back first."
                )
            kept = [f"{UNDO}/{identifier}/{name}" for name in KEPT]
            if not set(kept) <= expected.keys():
                raise InputError(f"no undo data of {identifier} is there: it was not kept (--keep-undo) or was sealed.")
            check_hashes(self.store, {name: expected[name] for name in kept})
            weights = {"weights_before": last.facts["weights_after"], "weights_after": last.facts["weights_before"]}
            facts = {"id_undone": identifier, **weights, **signer.facts}
            with self.store.change("undo", facts, remove=kept, sign=signer.sign) as files:
                for name in kept:
                    link(self.store.path(name), files / Path(name).name)

    def seal(self, *, key: Path | None = None) -> int:
        """Destroys all undo data; returns of how many requests."""
        with self._changing(key) as signer:
            kept = [name for name in files_of(self.store.entries) if name.startswith(f"{UNDO}/")]
            count = len({Path(name).parent for name in kept})
            with self.store.change("seal", {"requests": count, **signer.facts}, remove=kept, sign=signer.sign):
                pass
        return count

    def export(self, out: Path | str, *, copy: bool = False, overwrite: bool = False) -> Check:
        """Writes the model as it is after the last request as a checkpoint, as `Edit.save` does.

        Returns the check that compared every tensor that is not visual, byte for byte.
        """
        base, weights, place = self.base(), self.weights(), Path(out)
        self._patched(weights)  # what is written is what the ledger says, also where another process changes it now
        requests = [entry.facts["id"] for entry in self.standing()]
        method = {"name": self.settings.method.name, **asdict(self.settings.method)}
        facts = {
            "method": method,
            "seed": self.settings.seed,
            "session": {"head": self.entries[-1].hash, "entries": len(self.entries), "requests": requests},
            "weights": weights_of(self.entries),
        }

        def fill(folder: Path) -> None:
            write_checkpoint(base, weights, folder, copy=copy)
            write_record(base.folder, folder, facts)

        with_folder(place, fill, overwrite=overwrite)
        return language_model_unchanged(base, place)

    def edited(self) -> Vlm:
        """The model after the last request. Raises BrokenSessionError where it is not what the ledger says."""
        return self._patched(self.weights())

    def _patched(self, weights: Mapping[str, Tensor]) -> Vlm:
        found = self.base()
        strange = sorted(set(weights) - set(found.partition.visual))
        if strange:
            raise BrokenSessionError(f"{WEIGHTS} holds {strange[0]}, which is no visual parameter.")
        patch(found, weights)
        if visual_hash(found) != weights_of(self.store.entries):
            raise BrokenSessionError(f"{WEIGHTS} does not give the weights whose hash the ledger has.")
        return found

    def capacity(self) -> list[Capacity]:
        """How many directions of each layer's inputs later requests can still use, before any request and now.

        A direction of energy s counts r t / (s + r t), with r = FREE and t the mean energy of the retained inputs:
        1 where nothing retained or forgotten is, 0 where much is.
        """
        self._check_secret()
        base, vlm = self.base(), self.edited()
        state = self._state(base)
        drift = _drifts(vlm, base, state)
        readers: dict[str, list[str]] = {}
        for name, first in state.retained.first.items():
            readers.setdefault(first, []).append(name)
        found = []
        for first, names in readers.items():
            retained = state.retained.grams[first].second
            now = retained + state.guard[first].outer if state.guard else retained
            unit = FREE * float(retained.diagonal().mean())
            free = [float((unit / (torch.linalg.eigvalsh(g).clamp(min=0) + unit)).sum()) for g in (retained, now)]
            found.append(Capacity(first, len(now), free[0], free[1], max(drift[name] for name in names)))
        return found

    def base(self, *, language: bool = False) -> Vlm:
        """The model before any request. Raises InputError where it is not the one the session was made on."""
        model = Path(self.settings.model)
        if not model.is_dir():
            raise InputError(f"the model {model} is not there; put it back.")
        base = load(model, language=language, trust_remote_code=self.trust_remote_code)
        if visual_hash(base) != self.store.entries[0].facts["weights_after"]:
            raise InputError(
                f"{model} is not the model this session was made on: its visual weights have another "
                "hash; put the model back, or make a new session."
            )
        return base

    def _state(self, base: Vlm) -> State:
        return State(*read_guarded(self.store.path(STATE), base, self._secret))

    def weights(self) -> dict[str, Tensor]:
        """The visual weights that differ from the model's, by parameter name, as they are stored."""
        try:
            return load_file(self.store.path(WEIGHTS))
        except SafetensorError as error:
            raise BrokenSessionError(f"{WEIGHTS} cannot be read ({error}); restore it from a copy.") from error

    def _salted(self, digest: str) -> str:
        return salted(digest, self.settings.salt, self._secret)

    def _check_id(self, identifier: str) -> None:
        if not IDENTIFIER.fullmatch(identifier):
            raise InputError(
                f"the id {identifier!r} cannot be used; expected up to 64 letters, digits, dots or dashes."
            )
        if any(entry.facts.get("id") == identifier for entry in self.store.entries):
            raise InputError(f"the id {identifier} was used before; give each request an id of its own.")

    def _check_new(self, salted: Sequence[str]) -> None:
        for entry in self.standing():
            if set(salted) & set(entry.facts["target_hashes"]):
                raise InputError(
                    f"an image of the target was forgotten before, by the request {entry.facts['id']}; "
                    "leave out what that one had."
                )

    def _kept(self, samples: Sequence[Sample], target: set[str]) -> list[Sample]:
        """The retained images without forgotten ones."""
        gone = target | {digest for entry in self.standing() for digest in entry.facts["target_hashes"]}
        kept = [
            sample
            for sample, digest in zip(samples, data.validate(samples, "retained"), strict=True)
            if self._salted(digest) not in gone
        ]
        if not kept:
            raise InputError("all retained images are of forgotten targets; give others, or none.")
        return kept

    def _check_drift(self, drift: Mapping[str, float]) -> None:
        bound = self.settings.max_drift
        if bound is None:
            return
        full = sorted((name for name, value in drift.items() if value > bound), key=lambda name: -drift[name])
        if full:
            listed = ", ".join(f"{name} {drift[name]:.3g}" for name in full[:4])
            more = f" and {len(full) - 4} more" if len(full) > 4 else ""
            raise InputError(
                f"the request would exceed the drift budget of {bound:g} in {len(full)} layers ({listed}{more}); "
                "nothing was written. Give a gentler method, or make a new session on the exported model."
            )

    def _scores(
        self, before: Mapping[str, Tensor], after: Mapping[str, Tensor], benchmark: Benchmark | str
    ) -> list[dict[str, Any]]:
        """The scores of the benchmark before and after, on checkpoints that are gone afterwards."""
        base = self.base()
        with workspace(self.folder.absolute().parent, self.folder.name) as place:
            folders = [place / name for name in ("before", "after")]
            for folder, weights in zip(folders, (before, after), strict=True):
                folder.mkdir()
                write_checkpoint(base, weights, folder)
            result = evaluate(folders[1], before=folders[0], benchmark=benchmark)
        return [asdict(score) for score in result.scores]


def _samples(images: Images) -> list[Sample]:
    return data.load(Path(images)) if isinstance(images, str | Path) else list(images)


def patch(vlm: Vlm, weights: Mapping[str, Tensor]) -> None:
    """Sets visual parameters of a model to these values. Raises BrokenSessionError where one does not fit."""
    parameters = visual_parameters(vlm.model, vlm.partition)
    with torch.no_grad():
        for name, value in weights.items():
            if parameters[name].shape != value.shape:
                raise BrokenSessionError(f"{WEIGHTS} holds {name} as {tuple(value.shape)}, which does not fit.")
            parameters[name].copy_(value)


def _without(
    state: State, base: Vlm, samples: Sequence[Sample], salted: Sequence[str], bounds: Memory, scratch: Path | None
) -> State:
    """The state without those of the samples that were counted as retained, on the model on which they were."""
    there = set(state.retained.hashes)
    known = {digest: sample for digest, sample in zip(salted, samples, strict=True) if digest in there}
    if not known:
        return state
    counted = prepare(base, list(known.values()), bounds.images)
    vectors = state.retained.features.layout.vectors(counted.features)
    return state.without(tuple(known), vectors, _grams(base, counted.inputs, state, bounds, scratch))


def _grams(
    vlm: Vlm, images: Sequence[Inputs], state: State, bounds: Memory, scratch: Path | None
) -> Mapping[str, Gram]:
    """What these images put into each layer of which the state has a Gram; in a folder of its own within `scratch`."""
    place = None if scratch is None else Path(tempfile.mkdtemp(dir=scratch))
    return retained_grams(vlm, images, list(state.retained.grams), bounds, place)


def _drifts(now: Vlm, base: Vlm, state: State) -> dict[str, float]:
    """tr(D G D^T) / tr(W G W^T) of each layer, D its change since the session began, G of the retained."""
    moved, start = (visual_parameters(vlm.model, vlm.partition) for vlm in (now, base))
    found = {}
    for layer, first in state.retained.first.items():
        before = start[f"{layer}.weight"].detach()
        delta = moved[f"{layer}.weight"].detach() - before
        found[layer] = retained_drift(delta, before, state.retained.grams[first]) if delta.any() else 0.0
    return found


def _warnings(known: int, shown: int) -> list[str]:
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
