"""Photos that are opened when they are needed and let go at once, so that their number costs no memory."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Image
from torch.utils.data import DataLoader, Dataset
from transformers import ProcessorMixin

from unsee.data import content_hash, describe, open_image
from unsee.errors import InputError
from unsee.models.features import Inputs
from unsee.models.inputs import image_inputs

MANY = 512  # photos from which on processes of their own open them
Opened = tuple[Inputs, str]  # what a model takes of an image, and the hash of what it shows


def opened(processor: ProcessorMixin, picture: Path | Image) -> Opened:
    """One photo, ready for the model. Raises InputError where it cannot be used."""
    image = open_image(picture)
    return image_inputs(processor, [image], describe(picture))[0], content_hash(image)


@dataclass(frozen=True)
class _Pictures(Dataset[Opened | InputError]):
    processor: ProcessorMixin
    pictures: Sequence[Path | Image]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, place: int) -> Opened | InputError:
        try:
            return opened(self.processor, self.pictures[place])
        except InputError as error:  # raised by the reader: a loader would wrap it in a traceback of its own
            return error


def batches(processor: ProcessorMixin, pictures: Sequence[Path | Image], size: int) -> Iterator[list[Opened]]:
    """The photos in their order, so many at once; opened by other processes where there are many and cores to spare.

    Raises InputError at the first that cannot be used.
    """
    spare = (os.cpu_count() or 1) - 1 if len(pictures) >= MANY else 0
    loader: DataLoader[Opened | InputError] = DataLoader(
        _Pictures(processor, pictures), batch_size=size, num_workers=min(4, spare), collate_fn=list
    )
    for batch in loader:
        found = list[Opened]()
        for one in batch:
            if isinstance(one, InputError):
                raise one
            found.append(one)
        yield found


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
