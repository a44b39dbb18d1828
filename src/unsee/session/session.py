"""Requests that arrive one after the other over years, on one model: forgotten, remembered, taken back."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unsee import data
from unsee.benchmarks.benchmark import Benchmark
from unsee.data import Images
from unsee.errors import InputError, check_kind
from unsee.evaluation.hearing import AUTO, Ask, Tell, silent
from unsee.forgetting.training import Progress
from unsee.models.checkpoint import Vlm
from unsee.moments.file import read_guarded
from unsee.moments.measure import waiting_place
from unsee.records import Check, Sample
from unsee.session import certificate, entering, exporting, photos, queue, secret, settings
from unsee.session.capacity import Capacity, capacities
from unsee.session.certificate import Signer
from unsee.session.ledger import (
    CERTIFICATES,
    KEPT,
    SETTINGS,
    STATE,
    UNDO,
    WEIGHTS,
    BrokenSessionError,
    Entry,
    files_of,
    head,
    queue_file,
    queued,
    signing_key,
    standing,
)
from unsee.session.model_files import differing
from unsee.session.request import Asked, Others, Wanted, Work, anchored, by_layer, drifts, layers
from unsee.session.secret import Secret
from unsee.session.state import State
from unsee.session.store import Store, check_hashes, link
from unsee.system.device import as_by_default


class Session:
    """A session to look at and to change. Nothing is locked or written but while a change is made."""

    def __init__(
        self,
        folder: Path | str,
        *,
        secret_file: Path | None = None,
        trust_remote_code: bool = False,
        method: str = "",
    ) -> None:
        """Raises InputError where it is no session, BrokenSessionError where it was tampered with.

        Looked at are the ledger and the files that requests build on; `verify` looks at everything. `secret_file` is
        needed by requests and `capacity` where the session was made with one. Requests of a session that was made with
        a class of one's own run its code, where `method` names it as the session does: package.module:Class.
        """
        self.store = Store(Path(folder))
        self.trust_remote_code = trust_remote_code
        self._check_base()
        self.settings = settings.read(self.store.path(SETTINGS), method)
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

    def queued(self) -> list[Entry]:
        """The requests that wait, in their order, each by the entry that says since when."""
        return queued(self.store.entries)

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
        public: Images | None = None,
        benchmark: Benchmark | str | None = None,
        keep_undo: bool = False,
        key: Path | None = None,
        ask: Ask = AUTO,
        questions: Sequence[Sample] = (),
        answer_from_folder: bool = False,
        drop_similar: bool = False,
        keep_anyway: bool = False,
        skipped: int = 0,
        progress: Progress | None = None,
        tell: Tell = silent,
    ) -> dict[str, Any]:
        """Makes the model forget what is on the target images, after everything before; the folder changes at the end.

        Retained images are optional; they are kept as the model saw them before any request. Images of forgotten
        targets among them are left out. `public` images stand in for them, see `unsee.forget`. With `benchmark` or
        `questions`, the certificate has scores before and after. `ask`, `questions`, `answer_from_folder`,
        `drop_similar` and `tell` are as in `unsee.forget`. The certificate, which is returned, says how many files of
        the target were `skipped` because they could not be read.

        Raises InputError, and leaves the session as it was, for an id that was used, an image that was forgotten
        before or waits, a model that is not the session's, or a drift above the session's bound; and MissedError,
        unless `keep_anyway`, where the request did not reach its aim.
        """
        self._check_secret()
        with self._changing(key) as signer:
            entering.check_id(identifier, self.store.entries)
            asked = (replace(self._asked(identifier, reason, target), skipped=skipped),)
            asking = {"ask": ask, "questions": questions, "by_name": answer_from_folder, "drop_similar": drop_similar}
            run: dict[str, Any] = {"benchmark": benchmark, "keep_undo": keep_undo, "keep_anyway": keep_anyway}
            return self._entered(asked, retain, public, asking, signer, **run, progress=progress, tell=tell)[0]

    def later(
        self, target: Images, identifier: str, *, reason: str = "", key: Path | None = None, skipped: int = 0
    ) -> None:
        """Queues a request: its images wait in the folder, encrypted by the session's secret, until `settle`.

        So many files were `skipped`, as could not be read; its certificate will say so.

        Raises InputError for a session that was made without a secret, and as `forget` does.
        """
        if not self.settings.secret:
            raise InputError(
                f"{self.folder} was made without a secret, which encrypts photos that wait; make the request now, or "
                "a session with --secret."
            )
        self._check_secret()
        with self._changing(key) as signer:
            entering.check_id(identifier, self.store.entries)
            asked = self._asked(identifier, reason, target)
            facts = {"id": identifier, "reason": reason, "target_hashes": asked.hashes, **signer.facts}
            with self.store.change("queue", facts, sign=signer.sign) as files:
                if self._secret is not None:  # it was checked
                    queue.save(files / queue_file(identifier), identifier, asked.target, self._secret, skipped)

    def settle(
        self,
        *,
        retain: Images | None = None,
        public: Images | None = None,
        benchmark: Benchmark | str | None = None,
        key: Path | None = None,
        ask: Ask = AUTO,
        answer_from_folder: bool = False,
        drop_similar: bool = False,
        keep_anyway: bool = False,
        progress: Progress | None = None,
        tell: Tell = silent,
    ) -> list[dict[str, Any]]:
        """Makes all requests that wait, as one edit, and erases their photos; returns a certificate of each.

        Options are as for `forget`. It cannot be taken back. Raises InputError where none waits, and as `forget` does:
        then all still wait.
        """
        self._check_secret()
        with self._changing(key) as signer:
            waiting = self.queued()
            if not waiting:
                raise InputError(f"no request waits in {self.folder}; queue one with unsee session forget --later.")
            check_hashes(self.store, {queue_file(e.facts["id"]): e.files[queue_file(e.facts["id"])] for e in waiting})
            asked = tuple(map(self._waited, waiting))
            asking = {"ask": ask, "by_name": answer_from_folder, "drop_similar": drop_similar}
            run: dict[str, Any] = {"benchmark": benchmark, "keep_undo": False, "keep_anyway": keep_anyway}
            return self._entered(asked, retain, public, asking, signer, **run, progress=progress, tell=tell)

    def withdraw(self, identifier: str, *, key: Path | None = None) -> None:
        """Takes a request out of the queue and erases its photos. Raises InputError where none of this id waits."""
        with self._changing(key) as signer:
            if identifier not in [entry.facts["id"] for entry in self.queued()]:
                raise InputError(f"no request {identifier} waits in {self.folder}; see unsee session log.")
            facts, gone = {"id_withdrawn": identifier, **signer.facts}, [queue_file(identifier)]
            with self.store.change("withdraw", facts, remove=gone, sign=signer.sign):
                pass

    @as_by_default()
    def _entered(
        self,
        asked: tuple[Asked, ...],
        retain: Images | None,
        public: Images | None,
        asking: Mapping[str, Any],
        signer: Signer,
        *,
        benchmark: Benchmark | str | None,
        keep_undo: bool,
        keep_anyway: bool,
        progress: Progress | None,
        tell: Tell,
    ) -> list[dict[str, Any]]:
        """Makes requests as one edit and enters them; returns their certificates."""
        started = time.monotonic()
        method = self.settings.maker
        vlm = self.base(language=method.language)
        bounds = vlm.bounds(self.settings.memory)
        with waiting_place(bounds, self.folder.absolute().parent, self.folder.name) as scratch:
            others = Others()
            if retain is not None or public is not None:
                gone = {digest for e in (*self.standing(), *self.queued()) for digest in e.facts["target_hashes"]}
                gone |= {digest for one in asked for digest in one.hashes}
                targets = [sample for one in asked for sample in one.target]
                drop = bool(asking["drop_similar"])
                others = photos.others(
                    vlm, retain, public, gone, self._salted, targets, method, bounds.images, drop=drop
                )
            return entering.enter(
                self.store,
                self.settings,
                Wanted(asked, others, **asking),
                self._state(vlm),
                self.weights(),
                Work(vlm, bounds, scratch),
                signer,
                self._secret,
                reopened=self.base,
                started=started,
                benchmark=benchmark,
                keep_undo=keep_undo,
                keep_anyway=keep_anyway,
                progress=progress,
                tell=tell,
            )

    def _asked(self, identifier: str, reason: str, target: Images) -> Asked:
        """Raises InputError where a photo cannot be used, or was forgotten before, or waits."""
        check_kind("reason", reason, str, "a text")
        samples = data.samples_of(target)
        hashes = [self._salted(digest) for digest in data.validate(samples, "target")]
        entering.check_new(hashes, self.store.entries)
        return Asked(identifier, reason, samples, hashes)

    def _waited(self, entry: Entry) -> Asked:
        """A request that waits. Raises BrokenSessionError where its photos are not those that were asked about."""
        if self._secret is None:  # a session without one queues nothing
            raise BrokenSessionError(f"{self.folder} has requests that wait, and no secret; restore it from a copy.")
        facts = entry.facts
        samples, skipped = queue.read(self.store.path(queue_file(facts["id"])), facts["id"], self._secret)
        hashes = [self._salted(digest) for digest in data.validate(samples, "target")]
        if hashes != facts["target_hashes"]:
            raise BrokenSessionError(f"the photos of {facts['id']} are not those that were queued; restore a copy.")
        return Asked(facts["id"], facts["reason"], samples, hashes, entry.time, skipped)

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
        if not place.is_dir():
            raise InputError(f"{model} is not a folder; give the one in which the model lies now.")
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
        entries = self.store.entries
        base, weights = self.base(whole=True), self.weights()
        # What is written is what the ledger says, whatever changes it.
        exporting.patched(self.base(), weights, self.store)
        requests = [entry.facts["id"] for entry in self.standing()]
        told = [certificate.read(self.store.path(f"{CERTIFICATES}/{request}.json")) for request in requests]
        return exporting.export(base, weights, self.settings, entries, told, Path(out), link=link, overwrite=overwrite)

    def edited(self, base: Vlm) -> Vlm:
        """The model after the last request, made of the one before any, which changes.

        Raises BrokenSessionError where it is not what the ledger says.
        """
        return exporting.patched(base, self.weights(), self.store)

    def capacity(self) -> list[Capacity]:
        """How many directions of each layer's inputs later requests can still use; see `capacities`."""
        self._check_secret()
        vlm = self.base()
        retained, guard, _ = read_guarded(self.store.path(STATE), vlm, self._secret)
        state = State(retained, guard, {})
        start = layers(vlm, state)
        return capacities(state, drifts(self.edited(vlm), start, state))

    def base(self, *, language: bool = False, whole: bool = False) -> Vlm:
        """The model before any request, as `exporting.opened` says."""
        given = {"language": language, "whole": whole, "trust_remote_code": self.trust_remote_code}
        return exporting.opened(self.settings, self.store.entries, **given)

    def _state(self, base: Vlm) -> State:
        """Raises InputError where it is of an older version and cannot be turned into one of this."""
        retained, guard, anchors = read_guarded(self.store.path(STATE), base, self._secret)
        if anchors is None:
            anchors = anchored(guard, retained.first, by_layer(self.weights()), self.store.folder / STATE)
        return State(retained, guard, anchors)

    def weights(self) -> dict[str, Tensor]:
        """The visual weights that differ from the model's, by parameter name, as they are stored."""
        try:
            return load_file(self.store.path(WEIGHTS))
        except SafetensorError as error:
            raise BrokenSessionError(f"{WEIGHTS} cannot be read ({error}); restore it from a copy.") from error

    def _salted(self, digest: str) -> str:
        return secret.salted(digest, self.settings.salt, self._secret)
