"""The files of the model that a session was made on."""

from collections.abc import Sequence
from pathlib import Path

from unsee.models.checkpoint import ADAPTER, hashes
from unsee.session.ledger import Entry


def differing(model: Path, entries: Sequence[Entry]) -> Path | None:
    """The first file in a model's folder that is missing or not what it was at first; None where all are as then."""
    then = entries[0].facts["model_files"]
    gone = [model / name for name in then if not (model / name).is_file()]
    if gone or (model / ADAPTER).exists():
        return gone[0] if gone else model / ADAPTER
    now = hashes(model)
    return next((model / name for name in sorted(then.keys() | now.keys()) if then.get(name) != now.get(name)), None)
