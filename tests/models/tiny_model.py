"""Names of what the tiny checkpoint holds."""

from pathlib import Path

from unsee.models.checkpoint import Vlm
from unsee.models.shards import shards

LAYER = "model.multi_modal_projector.linear_1.weight"


def language_shards(vlm: Vlm) -> list[Path]:
    """The files of a checkpoint that hold no visual tensor."""
    return sorted(set(shards(vlm.folder)) - {place.file for place in vlm.stored.values()})
