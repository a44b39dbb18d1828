"""Whether a session is still what its requests made it: ledger, files, model, weights, certificates, signatures."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from unsee.errors import InputError
from unsee.moments.file import read_guarded
from unsee.session import certificate
from unsee.session.ledger import CERTIFICATES, DIGEST, STATE, BrokenSessionError, Entry, certified, queued
from unsee.session.model_files import differing
from unsee.session.session import Session
from unsee.session.store import Store, check_files

AHEAD = timedelta(minutes=10)  # by which the clock that wrote an entry may be ahead of the one that checks it


def verify(
    folder: Path | str, public_key: Path | None = None, *, head: str | None = None, trust_remote_code: bool = False
) -> str:
    """Checks a session's ledger, every file, the model, weights, certificates and signatures; says what it checked.

    Nothing is written, so that the folder may be one that cannot be. With `public_key`, every entry and certificate
    must be signed by it. With `head`, the hash of an entry that was kept elsewhere, that entry must be in the ledger:
    a copy that was rolled back or cut off lacks it. The model's own code runs with `trust_remote_code` alone.

    Raises BrokenSessionError for the first thing that does not hold, InputError where the session changed meanwhile.
    """
    expected = None if public_key is None else certificate.read_public_key(public_key)
    if head is not None and not DIGEST.fullmatch(head):
        raise InputError(f"{head!r} is no head; expected the 64 digits that the last change printed.")
    store = Store(Path(folder))
    try:
        return _verified(store, expected, head, trust_remote_code=trust_remote_code)
    except BrokenSessionError as error:
        if Store(store.folder).entries != store.entries:
            raise InputError(f"{folder} was changed while it was read; run verify again.") from error
        raise


def _verified(store: Store, expected: str | None, head: str | None, *, trust_remote_code: bool) -> str:
    entries = store.entries
    since = _since(entries, head)
    latest = (datetime.now(UTC) + AHEAD).isoformat(timespec="microseconds")
    if entries[-1].time > latest:
        raise BrokenSessionError(f"the last entry is dated {entries[-1].time}, which is still to come.")
    checked = check_files(store)
    signed = certificate.check_entries(entries, expected)
    signatures = _check_certificates(store, expected)
    session = Session(store.folder, trust_remote_code=trust_remote_code)
    model = Path(session.settings.model)
    if not model.is_dir():
        raise BrokenSessionError(f"the model {model} is not there; put it back, or use unsee session relocate.")
    other = differing(model, entries)
    if other is not None:
        raise BrokenSessionError(f"{other} is not what it was when the session began; put it back.")
    base = session.base()
    read_guarded(store.path(STATE), base)
    session.edited(base)
    requests, waiting = len(certified(entries)), len(queued(entries))
    return "; ".join(
        filter(
            None,
            (
                f"{len(entries)} entries, {signed} of them signed, {checked} files, "
                f"{len(entries[0].facts['model_files'])} files of the model, "
                f"{signatures} of {requests} certificates signed",
                f"{waiting} requests queued" if waiting else "",
                since,
                store.left,
            ),
        )
    )


def _since(entries: Sequence[Entry], head: str | None) -> str:
    """What came after the entry with this hash, in words. Raises BrokenSessionError where there is none."""
    if head is None:
        return ""
    for entry in entries:
        if entry.hash == head:
            return f"{len(entries) - 1 - entry.number} entries came after the head that was given"
    raise BrokenSessionError(
        "no entry has the head that was given: this is an older copy, or its ledger was cut off or made anew."
    )


def _check_certificates(store: Store, expected: str | None) -> int:
    """Checks certificates against the ledger; returns how many are signed."""
    signatures = 0
    for entry, facts in certified(store.entries):
        name = f"{CERTIFICATES}/{facts['id']}.json"
        found = certificate.read(store.path(name))
        different = [key for key, value in facts.items() if found.get(key) != value]
        if different or found.get("previous") != entry.previous:
            raise BrokenSessionError(
                f"{name} says something else than the ledger ({', '.join(different) or 'previous'})."
            )
        signatures += certificate.check_signature(found, name, expected)
    return signatures
