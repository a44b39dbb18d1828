"""Copies of visual weights that would travel along with a checkpoint that has forgotten."""

import torch

from unsee.errors import InputError
from unsee.models.carried import named_so
from unsee.models.checkpoint import Vlm
from unsee.models.shards import DTYPES, Stored, header, shards

LOOKED, NUMBERS, PLAIN = 3, 64, 16  # the largest weights; numbers of each that are looked for; different bytes at least


def refuse_copies(vlm: Vlm) -> None:
    """Raises InputError for what a copy of the checkpoint would hand on of its visual weights as they are now.

    Another file that belongs to a checkpoint by its name, or tensors under names that the model does not use, as of
    moving averages.
    """
    weights = sorted(vlm.stored.values(), key=lambda place: place.stop - place.start, reverse=True)
    largest, known = ({n for place in some for n in _needle(place)} for some in (weights[:LOOKED], weights))
    for file in set(named_so(vlm.folder)) - set(shards(vlm.folder)):
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
    """Some numbers from the middle of a tensor as bytes, in each dtype of floats, but for those of a few values."""
    if place.dtype not in DTYPES:
        return []
    size = DTYPES[place.dtype].itemsize
    numbers = (place.stop - place.start) // size
    some = min(NUMBERS, numbers)
    if not some:
        return []
    with place.file.open("rb") as file:
        file.seek(place.start + (numbers - some) // 2 * size)
        found = torch.frombuffer(bytearray(file.read(some * size)), dtype=DTYPES[place.dtype])
    every = [found.to(dtype).view(torch.uint8).numpy().tobytes() for dtype in DTYPES.values()]
    return [each for each in every if len(set(each)) >= PLAIN]
