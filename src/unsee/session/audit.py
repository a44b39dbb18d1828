"""Whether a session is still what its requests made it: ledger, files, model, weights, certificates, signatures."""

from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file

from unsee.models.checkpoint import hashes, load, visual_hash
from unsee.moments import read_guarded
from unsee.session import certificate, settings
from unsee.session.ledger import LEDGER, BrokenSessionError, Entry
from unsee.session.session import CERTIFICATES, STATE, WEIGHTS, patch
from unsee.session.settings import FILE
from unsee.session.store import Store, check_files


def verify(folder: Path | str, public_key: Path | None = None) -> str:
    """Checks a session's ledger, every file, the model, weights, certificates and signatures; says what it checked.

    With `public_key`, every certificate must be signed by it. Raises BrokenSessionError for the first thing that does
    not hold.
    """
    expected = None if public_key is None else certificate.read_public_key(public_key)
    with Store(Path(folder)) as store:
        entries, place = store.entries, store.folder
        checked = check_files(place, entries)
        made = settings.read(place / FILE)
        model = Path(made.model)
        if not model.is_dir():
            raise BrokenSessionError(f"the model {model} is not there; put it back.")
        files = entries[0].facts["model_files"]
        found = hashes(model)
        for name in sorted(files.keys() | found.keys()):
            if files.get(name) != found.get(name):
                raise BrokenSessionError(f"{model / name} is not what it was when the session began; put it back.")
        signatures = _check_requests(place, entries, expected)
        base = load(model, trust_remote_code=made.trust_remote_code)
        weights = load_file(place / WEIGHTS)
        strange = sorted(set(weights) - set(base.partition.visual))
        if strange:
            raise BrokenSessionError(f"{WEIGHTS} holds {strange[0]}, which is no visual parameter.")
        last = [entry for entry in entries if "weights_after" in entry.facts][-1]
        read_guarded(place / STATE, base)
        patch(base, weights)
        if visual_hash(base) != last.facts["weights_after"]:
            raise BrokenSessionError(f"{WEIGHTS} does not give the weights whose hash the ledger has.")
        return (f"{store.recovered}; " if store.recovered else "") + (
            f"{len(entries)} entries, {checked} files, {len(files)} files of the model, "
            f"{signatures} of {len([e for e in entries if e.event == 'forget'])} certificates signed"
        )


def _check_requests(folder: Path, entries: Sequence[Entry], expected: str | None) -> int:
    """Checks certificates against the ledger, and the chain of weights; returns how many are signed."""
    signatures, weights = 0, entries[0].facts["weights_after"]
    for entry in entries[1:]:
        if "weights_before" in entry.facts:
            if entry.facts["weights_before"] != weights:
                raise BrokenSessionError(
                    f"{LEDGER}, line {entry.number + 1}, does not begin where the one before ended."
                )
            weights = entry.facts["weights_after"]
        if entry.event != "forget":
            continue
        name = f"{CERTIFICATES}/{entry.facts['id']}.json"
        found = certificate.read(folder / name)
        different = [key for key, value in entry.facts.items() if found.get(key) != value]
        if different or found.get("previous") != entry.previous:
            raise BrokenSessionError(
                f"{name} says something else than the ledger ({', '.join(different) or 'previous'})."
            )
        signatures += certificate.check_signature(found, name, expected)
    return signatures
