"""The files of the model that a session was made on."""

from collections.abc import Sequence
from pathlib import Path

from unsee.models.carried import carried, hashes
from unsee.models.checkpoint import ADAPTER
from unsee.models.shards import shards
from unsee.session.ledger import Entry
from unsee.system.disk import file_hash


def differing(model: Path, entries: Sequence[Entry], *, weights: bool = True) -> Path | None:
    """The first file in a model's folder that is missing or not what it was at first; None where all are as then.

    Files of weights are read only where `weights` are asked about.
    """
    then = entries[0].facts["model_files"]
    gone = [model / name for name in then if not (model / name).is_file()]
    if gone or (model / ADAPTER).exists():
        return gone[0] if gone else model / ADAPTER
    if weights:
        now = hashes(model)
    else:
        heavy = set(shards(model))
        now = {f.relative_to(model).as_posix(): file_hash(f) for f in carried(model) if f not in heavy}
        then = {name: digest for name, digest in then.items() if model / name not in heavy}
    return next((model / name for name in sorted(then.keys() | now.keys()) if then.get(name) != now.get(name)), None)
