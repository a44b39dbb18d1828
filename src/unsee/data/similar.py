"""Whether two images are the same picture, resized, re-encoded or lit a little otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unsee.data.images import open_image

SIDE = 16  # of the perceptual hash, in bits
APART = 24  # of its 256 bits: a picture at half its size or as a JPEG of quality 40 differs in up to 14
SMALL, COLOUR = (16, 16), 12.0  # thumbnails, and how far two of the same picture differ at most, of 255


@dataclass(frozen=True, eq=False)
class Look:
    """What is compared: a perceptual hash, which sees structure, and a thumbnail, which sees colour.

    Source of the hash: Zauner (2010), as the library ImageHash has it.
    """

    bits: NDArray[np.bool_]
    thumbnail: NDArray[np.float32]


def look(image: Image.Image) -> Look:
    """The look of an image."""
    rgb = open_image(image)
    bits = imagehash.phash(rgb, hash_size=SIDE).hash.flatten()
    return Look(bits, np.asarray(rgb.resize(SMALL, Image.Resampling.BOX), dtype=np.float32))


def like(one: Look, others: Mapping[str, Look]) -> str | None:
    """The name of the first of `others` that is the same picture, or None."""
    for name, other in others.items():
        near = int((one.bits != other.bits).sum()) <= APART
        if near and float(np.abs(one.thumbnail - other.thumbnail).mean()) <= COLOUR:
            return name
    return None
