"""Requests that arrive one after the other over years, on one model: forgotten, remembered, taken back."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from unsee import __version__, data
from unsee.benchmarks.benchmark import Benchmark
from unsee.data import Images
from unsee.errors import InputError
from unsee.evaluation.evaluate import language_model_unchanged
from unsee.evaluation.hearing import AUTO, Ask, Tell, silent
from unsee.evaluation.own import reply_scores
from unsee.forgetting.edit import Edit, write_record
from unsee.forgetting.training import Progress
from unsee.models.checkpoint import Vlm, load, visual_hash
from unsee.models.checkpoint import write as write_checkpoint
from unsee.moments.file import read_guarded
from unsee.moments.file import save as save_moments
from unsee.moments.measure import waiting_place
from unsee.records import SCHEMA, Check, Sample
from unsee.session import certificate, secret, settings
from unsee.session.capacity import Capacity, capacities
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
from unsee.session.model_files import differing
from unsee.session.request import (
    Wanted,
    Work,
    check_drift,
    check_verdict,
    drifts,
    edited,
    guarded,
    patch,
    scores,
    warnings,
    without,
)
from unsee.session.secret import Secret, salted
from unsee.session.state import State
from unsee.session.store import Store, check_hashes, link
from unsee.system.environment import environment, now
from unsee.system.memory import plan
from unsee.system.output import with_folder


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
        return self.store.folder

    @property
    def entries(self) -> list[Entry]:
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
        ask: Ask = AUTO,
        questions: Sequence[Sample] = (),
        answer_from_folder: bool = False,
        keep_anyway: bool = False,
        progress: Progress | None = None,
        tell: Tell = silent,
    ) -> dict[str, Any]:
        """Makes the model forget what is on the target images, after everything before; the folder changes at the end.

        Retained images are optional; they are kept as the model saw them before any request. Images of forgotten
        targets among them are left out. With `benchmark` or `questions`, the certificate has scores before and after.
        `ask`, `questions`, `answer_from_folder` and `tell` are as in `unsee.forget`. Returns the certificate.

        Raises InputError, and leaves the session as it was, for an id that was used, an image that was forgotten
        before, a model that is not the session's, or a drift above the session's bound; and MissedError, unless
        `keep_anyway`, where the request did not reach its aim.
        """
        started = time.monotonic()
        self._check_secret()
        with self._changing(key) as signer:
            self._check_id(identifier)
            vlm = self.base(language=self.settings.method.language)
            asking = {"ask": ask, "questions": questions, "by_name": answer_from_folder}
            wanted = self._wanted(identifier, reason, target, retain, asking)
            bounds = plan(self.settings.memory, sum(vlm.partition.groups.values()))
            with waiting_place(bounds, self.folder.absolute().parent, self.folder.name) as scratch:
                work = Work(vlm, bounds, scratch)
                counted = self._state(vlm)
                state = without(counted, wanted, work)
                before = self.weights()
                seed = self.settings.seed + len(self.store.entries)
                edit, hash_before = edited(wanted, self.settings, seed, state, before, work, progress, tell)
                check_verdict(edit, keep_anyway=keep_anyway)
                drift = drifts(vlm, self.base(), state)
                check_drift(drift, self.settings.max_drift)
                state = guarded(state, wanted, work)
                after = before | {name: value.contiguous() for name, value in edit.weights.items()}
                measured = reply_scores(edit.replies) if edit.replies else []
                if benchmark is not None:
                    measured += scores(self.base(), before, after, benchmark, self.folder)
                facts = self._facts(wanted, edit, counted, state) | {
                    "weights_before": hash_before,
                    "weights_after": visual_hash(vlm),
                    "drift": drift,
                    "scores": [asdict(score) for score in measured],
                    "undo_kept": keep_undo,
                    "seconds": round(time.monotonic() - started, 2),
                }
                made = signer.signed(facts)
                self._commit(made, state, after, signer)
        return made

    def _wanted(
        self, identifier: str, reason: str, target: Images, retain: Images | None, asking: Mapping[str, Any]
    ) -> Wanted:
        """Raises InputError where a photo cannot be used or was forgotten before."""
        samples = data.samples_of(target)
        hashes = [self._salted(digest) for digest in data.validate(samples, "target")]
        self._check_new(hashes)
        kept = None if retain is None else self._kept(data.samples_of(retain), set(hashes))
        return Wanted(identifier, reason, samples, hashes, kept, **asking)

    def _facts(self, wanted: Wanted, edit: Edit, counted: State, state: State) -> dict[str, Any]:
        """What the certificate says, but for the weights and what was measured on them."""
        taken = counted.retained.count - state.retained.count
        return {
            "schema": SCHEMA,
            "unsee": __version__,
            "time": now(),
            "id": wanted.identifier,
            "number": len(self.standing()) + 1,
            "reason": wanted.reason,
            "target_images": len(wanted.hashes),
            "target_hashes": wanted.hashes,
            "taken_out_of_statistics": taken,
            "retained_images": len(wanted.kept or ()),
            "retained_statistics": state.retained.count,
            "seed": edit.seed,
            "method": {name: value for name, value in edit.facts().items() if name != "looks"},
            "verdict": edit.told(),
            "changed": sorted(edit.weights),
            "protected_tensors": len(edit.vlm.partition.protected),
            "warnings": warnings(taken, len(wanted.hashes)),
            "previous": self.store.entries[-1].hash,
            "environment": environment(),
        }

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

    def relocate(self, model: Path | str, *, key: Path | None = None) -> None:
        """Says where the model lies now. Raises InputError where a file is not what it was when the session began."""
        place = Path(model).absolute()
        with self._changing(key) as signer:
            other = differing(place, self.store.entries)
            if other is not None:
                raise InputError(f"{other} is not what it was when the session began; give the folder of that model.")
            moved = replace(self.settings, model=str(place))
            with self.store.change("relocate", signer.facts, sign=signer.sign) as files:
                settings.write(moved, files / SETTINGS)
            self.settings = moved

    def export(self, out: Path | str, *, link: bool = False, overwrite: bool = False) -> Check:
        """Writes the model as it is after the last request as a checkpoint, as `Edit.save` does.

        Returns the check that compared every tensor that is not visual, byte for byte.
        """
        base, weights, place = self.base(), self.weights(), Path(out)
        self._patched(self.base(), weights)  # what is written is what the ledger says, whatever changes it now
        requests = [entry.facts["id"] for entry in self.standing()]
        method = {"name": self.settings.method.name, **asdict(self.settings.method)}
        facts = {
            "method": method,
            "seed": self.settings.seed,
            "session": {"head": self.entries[-1].hash, "entries": len(self.entries), "requests": requests},
            "weights": weights_of(self.entries),
        }

        def fill(folder: Path) -> None:
            write_checkpoint(base, weights, folder, link=link)
            write_record(base.folder, folder, facts)

        with_folder(place, fill, overwrite=overwrite)
        return language_model_unchanged(base, place)

    def edited(self, base: Vlm) -> Vlm:
        """The model after the last request, made of the one before any, which changes.

        Raises BrokenSessionError where it is not what the ledger says.
        """
        return self._patched(base, self.weights())

    def _patched(self, found: Vlm, weights: Mapping[str, Tensor]) -> Vlm:
        strange = sorted(set(weights) - set(found.partition.visual))
        if strange:
            raise BrokenSessionError(f"{WEIGHTS} holds {strange[0]}, which is no visual parameter.")
        patch(found, weights)
        if visual_hash(found) != weights_of(self.store.entries):
            raise BrokenSessionError(f"{WEIGHTS} does not give the weights whose hash the ledger has.")
        return found

    def capacity(self) -> list[Capacity]:
        """How many directions of each layer's inputs later requests can still use; see `capacities`."""
        self._check_secret()
        base, vlm = self.base(), self.edited(self.base())
        state = self._state(base)
        drift = drifts(vlm, base, state)
        return capacities(state, drift)

    def base(self, *, language: bool = False) -> Vlm:
        """The model before any request. Raises InputError where it is not the one the session was made on."""
        model = Path(self.settings.model)
        if not model.is_dir():
            raise InputError(f"the model {model} is not there; put it back, or use unsee session relocate.")
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
