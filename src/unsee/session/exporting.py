"""The model as a session has it now, and written out as a checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from unsee.errors import InputError
from unsee.evaluation.evaluate import language_model_unchanged
from unsee.forgetting.edit import write_record
from unsee.models.checkpoint import Vlm, load, visual_hash
from unsee.models.checkpoint import write as write_checkpoint
from unsee.models.copies import refuse_copies
from unsee.records import Check
from unsee.session.ledger import WEIGHTS, BrokenSessionError, Entry, standing, weights_of
from unsee.session.model_files import differing
from unsee.session.request import patch
from unsee.session.settings import Settings
from unsee.session.store import Store
from unsee.system.output import with_folder


def opened(
    settings: Settings, entries: Sequence[Entry], *, language: bool, trust_remote_code: bool, whole: bool = False
) -> Vlm:
    """The model before any request, in float32. Raises InputError where it is not the one the session was made on.

    Its visual weights and its files are compared; the files of weights as a whole only where `whole`.
    """
    model = Path(settings.model)
    if not model.is_dir():
        raise InputError(f"the model {model} is not there; put it back, or use unsee session relocate.")
    base = load(model, language=language, trust_remote_code=trust_remote_code)
    base.model.float()  # with its language model it may come in half precision, in which small steps round away
    if visual_hash(base) != entries[0].facts["weights_after"]:
        raise InputError(
            f"{model} is not the model this session was made on: its visual weights have another "
            "hash; put the model back, or make a new session."
        )
    other = differing(model, entries, weights=whole)
    if other is not None:
        raise InputError(f"{other} is not what it was when the session began; put it back, or make a new session.")
    return base


def patched(found: Vlm, weights: Mapping[str, Tensor], store: Store) -> Vlm:
    """The model after all entries, made of the one before any, which changes.

    Raises BrokenSessionError where it is not what the ledger says, and InputError where that has changed meanwhile.
    """
    strange = sorted(set(weights) - set(found.partition.visual))
    if strange:
        raise BrokenSessionError(f"{WEIGHTS} holds {strange[0]}, which is no visual parameter.")
    patch(found, weights)
    if visual_hash(found) != weights_of(store.entries):
        if Store(store.folder).entries != store.entries:
            raise InputError(f"{store.folder} was changed by another process meanwhile; open it again.")
        raise BrokenSessionError(f"{WEIGHTS} does not give the weights whose hash the ledger has.")
    return found


TOLD = ("id", "time", "target_images", "target_hashes", "seed", "verdict", "weights_before", "weights_after")


def export(
    base: Vlm,
    weights: Mapping[str, Tensor],
    settings: Settings,
    entries: Sequence[Entry],
    certificates: Sequence[Mapping[str, Any]],
    out: Path,
    *,
    link: bool,
    overwrite: bool,
) -> Check:
    """Writes `base` with these weights as a checkpoint with its record; see `Session.export`."""
    facts = {
        "method": settings.facts,
        "seed": settings.seed,
        "session": {
            "head": entries[-1].hash,
            "entries": len(entries),
            **({} if settings.secret else {"salt": settings.salt}),
            "requests": [entry.facts["id"] for entry in standing(entries)],
            "certificates": [{name: each[name] for name in TOLD if name in each} for each in certificates],
        },
        "weights_before": str(entries[0].facts["weights_after"]),
        "weights_after": weights_of(entries),
    }

    refuse_copies(base)

    def fill(folder: Path) -> None:
        write_checkpoint(base, weights, folder, link=link)
        write_record(base.folder, folder, facts)

    with_folder(out, fill, overwrite=overwrite)
    return language_model_unchanged(base, out)
