"""The same photos cropped, mirrored, in other colours, noisy, and as a drawing would have them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from PIL import ImageEnhance, ImageFilter, ImageOps
from PIL.Image import Image, fromarray

from unsee.attacks.attack import Point, Subject, right
from unsee.data import open_image

CROP, COLOUR, NOISE, TONES = 0.1, 1.8, 0.06, 3  # share cut off a side; saturation; deviation of noise; bits a channel


def _crop(image: Image, _: np.random.Generator) -> Image:
    cut = [round(CROP * side) for side in image.size]
    return image.crop((cut[0], cut[1], image.width - cut[0], image.height - cut[1])).resize(image.size)


def _noise(image: Image, rng: np.random.Generator) -> Image:
    pixels = np.asarray(image, dtype=float) + 255 * NOISE * rng.standard_normal((image.height, image.width, 3))
    return fromarray(pixels.clip(0, 255).round().astype(np.uint8))


WAYS: Mapping[str, Callable[[Image, np.random.Generator], Image]] = {
    "crop": _crop,
    "flip": lambda image, _: ImageOps.mirror(image),
    "colour": lambda image, _: ImageEnhance.Color(image).enhance(COLOUR),
    "grey": lambda image, _: ImageOps.grayscale(image).convert("RGB"),
    "noise": _noise,
    "style": lambda image, _: ImageOps.posterize(image.filter(ImageFilter.ModeFilter(3)), TONES),
}


@dataclass(frozen=True)
class Perturb:
    """No weight moves. Strengths are ours: what leaves a person recognisable to the eye."""

    name: ClassVar[str] = "perturb"
    on_before: ClassVar[bool] = True

    def run(self, subject: Subject) -> Iterator[Point]:
        """One budget for each way."""
        vlm = subject.open()
        photos = {sample.picture: open_image(sample) for sample in subject.asked}
        for label, way in WAYS.items():
            rng = np.random.default_rng(subject.seed)
            changed = {key: way(photo, rng) for key, photo in photos.items()}
            asked = [replace(sample, image=changed[sample.picture]) for sample in subject.asked]
            yield Point(label, right(vlm, subject.asked, asked), subject.plain)
