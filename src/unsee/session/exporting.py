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
from unsee.records import Check
from unsee.session.ledger import WEIGHTS, BrokenSessionError, Entry, standing, weights_of
from unsee.session.request import patch
from unsee.session.settings import Settings
from unsee.system.output import with_folder


def opened(settings: Settings, entries: Sequence[Entry], *, language: bool, trust_remote_code: bool) -> Vlm:
    """The model before any request, in float32. Raises InputError where it is not the one the session was made on."""
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
    return base


def patched(found: Vlm, weights: Mapping[str, Tensor], entries: Sequence[Entry]) -> Vlm:
    """The model after these entries, made of the one before any, which changes.

    Raises BrokenSessionError where it is not what the ledger says.
    """
    strange = sorted(set(weights) - set(found.partition.visual))
    if strange:
        raise BrokenSessionError(f"{WEIGHTS} holds {strange[0]}, which is no visual parameter.")
    patch(found, weights)
    if visual_hash(found) != weights_of(entries):
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
            "requests": [entry.facts["id"] for entry in standing(entries)],
            "certificates": [{name: each[name] for name in TOLD if name in each} for each in certificates],
        },
        "weights_before": str(entries[0].facts["weights_after"]),
        "weights_after": weights_of(entries),
    }

    def fill(folder: Path) -> None:
        write_checkpoint(base, weights, folder, link=link)
        write_record(base.folder, folder, facts)

    with_folder(out, fill, overwrite=overwrite)
    return language_model_unchanged(base, out)
