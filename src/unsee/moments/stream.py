"""Photos that are opened when they are needed and let go at once, so that their number costs no memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from PIL.Image import Image
from transformers import ProcessorMixin

from unsee.data import content_hash, describe, open_image
from unsee.data.similar import Look, look
from unsee.data.workers import each_made
from unsee.models.features import Inputs
from unsee.models.inputs import image_inputs


@dataclass(frozen=True, eq=False)
class Opened:
    """What a model takes of a photo, the hash of what it shows, and how it looks where that was asked for."""

    arrays: dict[str, NDArray[Any]]
    digest: str
    seen: Look | None

    @property
    def inputs(self) -> Inputs:
        """As tensors, of the same memory."""
        return {name: torch.from_numpy(value) for name, value in self.arrays.items()}


def opened(processor: ProcessorMixin, picture: Path | Image, *, looked: bool = False) -> Opened:
    """One photo, ready for the model. Raises InputError where it cannot be used."""
    image = open_image(picture)
    inputs = image_inputs(processor, [image], describe(picture))[0]
    arrays = {name: value.numpy() for name, value in inputs.items()}
    return Opened(arrays, content_hash(image), look(image) if looked else None)


def batches(processor: ProcessorMixin, pictures: Sequence[Path | Image], size: int) -> Iterator[list[Opened]]:
    """The photos in their order, so many at once. Raises InputError at the first that cannot be used."""
    batch = list[Opened]()
    for one in each_made(pictures, partial(opened, processor), busy=True):
        batch.append(one)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def held(samples: Sequence[str], most: int) -> list[int]:
    """Places of at most so many photos, by the concept of each: concept by concept in turn, in their order."""
    if len(samples) <= most:
        return list(range(len(samples)))
    piles: dict[str, list[int]] = {}
    for place, concept in enumerate(samples):
        piles.setdefault(concept, []).append(place)
    ranked = sorted(
        (turn, place) for pile in piles.values() for turn, place in enumerate(pile)
    )  # the first of every concept, then the second of each
    return sorted(place for _, place in ranked[:most])
