"""Copies of visual weights that would travel along with a checkpoint that has forgotten."""

from unsee.errors import InputError
from unsee.models.carried import carried
from unsee.models.checkpoint import Vlm
from unsee.models.shards import Stored, header, shards

LOOKED, NEEDLE, PLAIN = 3, 256, 16  # the largest weights; bytes of each that are looked for; different ones at least


def refuse_copies(vlm: Vlm) -> None:
    """Raises InputError for what a copy of the checkpoint would hand on of its visual weights as they are now.

    Another file that belongs to a checkpoint by its name, or tensors under names that the model does not use, as of
    moving averages.
    """
    weights = sorted(vlm.stored.values(), key=lambda place: place.stop - place.start, reverse=True)
    largest, known = ({n for place in some for n in _needle(place)} for some in (weights[:LOOKED], weights))
    for file in set(carried(vlm.folder)) - set(shards(vlm.folder)):
        content = file.read_bytes()
        if any(needle in content for needle in largest):
            raise InputError(f"{file} holds visual weights of this model, which a copy would hand on; take it out.")
    for file in sorted({place.file for place in weights}):  # a language model's own files are not opened
        for name, place in header(file).items():
            if name not in vlm.stored and known.intersection(_needle(place)):
                raise InputError(
                    f"{file} holds visual weights a second time, as {name}, which the model does not use and a copy "
                    "would hand on; take them out."
                )


def _needle(place: Stored) -> list[bytes]:
    """Some bytes from the middle of a tensor, if they are told from others by more than a few values."""
    middle = (place.start + place.stop) // 2
    with place.file.open("rb") as file:
        file.seek(max(place.start, middle - NEEDLE // 2))
        found = file.read(min(NEEDLE, place.stop - place.start))
    return [found] if len(set(found)) >= PLAIN else []
