"""Variations of target images: turned, moved, lit otherwise, noisier, and mixed with other photos."""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional as F

from unsee.data.images import open_image, pixels

TURN, ZOOM, MOVE = math.radians(10), 0.1, 0.1  # largest angle, change of size, and shift as a share of half the side
LIGHT, NOISE = 0.12, 0.015  # largest change of contrast; standard deviation of the noise, of the range of a pixel
FROM_MATE, BEHIND, BEFORE = 0.7, 0.4, 0.4  # how often a mixed view has each kind of part of another photo
ACROSS, CUT = 0.7, 0.28  # how often photos are put one over the other; what each has of the picture, at least
LEAST = 0.3  # share that a blend has of the target's photo, at least
LARGEST = 2048  # pixels a side; larger photos are shrunk, because processors make them smaller still
HELD = 1 << 28  # bytes of photos that are held open to be mixed
LOOKED_AT = 16  # photos that say how large photos are


def sources(pictures: Sequence[Path | Image.Image], side: int) -> list[Callable[[], Image.Image]]:
    """Opens each picture, with no side above `side`, when it is called; HELD bytes of them are held, those asked last.

    A phone's photo takes a fifth of a second to open, and there are thousands of variations.
    """

    @lru_cache(maxsize=max(1, HELD // (3 * side * side)))
    def opened(place: int) -> Image.Image:
        return shrunk(open_image(pictures[place]), side)

    return [partial(opened, place) for place in range(len(pictures))]


def largest(pictures: Sequence[Path | Image.Image]) -> Image.Image:
    """That of the first LOOKED_AT pictures which has the most pixels."""
    return open_image(max(pictures[:LOOKED_AT], key=pixels))


def shrunk(image: Image.Image, side: int = LARGEST) -> Image.Image:
    """The image, in proportion made so small that no side is above `side`; itself where none is."""
    if max(image.size) <= side:
        return image
    small = image.copy()
    small.thumbnail((side, side))
    return small


def varied(images: Sequence[Image.Image], generator: Generator) -> list[Image.Image]:
    """One variation of each RGB image, of the same size up to LARGEST."""
    return [_varied(image, generator) for image in images]


def mixed(
    images: Sequence[Image.Image],
    mates: Sequence[Sequence[int]],
    others: Sequence[Callable[[], Image.Image]],
    generator: Generator,
) -> list[Image.Image]:
    """Each RGB image with parts of other photos in their places, of the same size up to LARGEST.

    `mates` are for each image the places of those that show the same look of the same concept: a box or the lower part
    of one makes a photo of the same concept in another moment. Of `others`, photos of something else that are opened
    when they are called, one may come behind the middle of the image and a small box of one before it.
    """
    return [
        _mixed(image, [images[place] for place in own], others, generator)
        for image, own in zip(images, mates, strict=True)
    ]


def blended(
    images: Sequence[Image.Image], others: Sequence[Callable[[], Image.Image]], generator: Generator
) -> list[Image.Image]:
    """Each RGB image blended with one of `others`, photos of something else that are opened when they are called.

    The share of the image is uniform from LEAST to 1. Source: mixup (Zhang et al. 2018) for the inputs.
    """
    return [
        Image.blend(
            others[int(torch.randint(len(others), (), generator=generator))]().resize(image.size),
            image,
            _uniform(LEAST, 1.0, generator),
        )
        for image in images
    ]


def composed(first: Image.Image, second: Image.Image, generator: Generator) -> Image.Image:
    """A variation of a picture that is put together from parts of two RGB photos, of the size of the first.

    Mostly it is the upper part of the one over the lower part of the other, else parts side by side.
    """
    made = shrunk(first).copy()
    across = _happens(ACROSS, generator)
    share = _uniform(CUT, 1 - CUT, generator)
    start = (0, round(share * made.height)) if across else (round(share * made.width), 0)
    made.paste(second.resize(made.size).crop((*start, *made.size)), start)
    return _varied(made, generator)


def recoloured(image: Image.Image, generator: Generator) -> Image.Image:
    """An RGB picture with its channels in another order, drawn from the five others."""
    red, green, blue = image.split()
    others = (
        *((red, blue, green), (green, red, blue), (green, blue, red)),
        *((blue, red, green), (blue, green, red)),
    )
    return Image.merge("RGB", others[int(torch.randint(len(others), (), generator=generator))])


def _mixed(
    image: Image.Image, mates: Sequence[Image.Image], others: Sequence[Callable[[], Image.Image]], generator: Generator
) -> Image.Image:
    made = shrunk(image).copy()

    def chosen(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    def paste(photo: Image.Image, box: tuple[int, int, int, int]) -> None:
        made.paste(photo.resize(made.size).crop(box), box[:2])

    if mates and _happens(FROM_MATE, generator):
        mate = mates[chosen(len(mates))]
        if _happens(0.5, generator):
            paste(mate, _box(made.size, 0.3, 0.9, generator))
        else:
            paste(mate, (0, round(made.height * _uniform(1 / 3, 5 / 6, generator)), *made.size))
    if others and _happens(BEHIND, generator):
        left, right, top = (_uniform(0, 0.22, generator) for _ in range(3))
        below = _uniform(0, 0.11, generator)
        edges = (left * made.width, top * made.height, (1 - right) * made.width, (1 - below) * made.height)
        box = (round(edges[0]), round(edges[1]), round(edges[2]), round(edges[3]))
        middle = made.crop(box)
        made = others[chosen(len(others))]().resize(made.size)
        made.paste(middle, box[:2])
    if others and _happens(BEFORE, generator):
        paste(others[chosen(len(others))](), _box(made.size, 0.1, 0.35, generator))
    return made


def _box(size: tuple[int, int], low: float, high: float, generator: Generator) -> tuple[int, int, int, int]:
    """A box whose sides are these shares of an image's, anywhere in it."""
    width, height = (max(1, round(side * _uniform(low, high, generator))) for side in size)
    left = int(torch.randint(size[0] - width + 1, (), generator=generator))
    top = int(torch.randint(size[1] - height + 1, (), generator=generator))
    return left, top, left + width, top + height


def _happens(often: float, generator: Generator) -> bool:
    return float(torch.rand((), generator=generator)) < often


def _varied(image: Image.Image, generator: Generator) -> Image.Image:
    pixels = torch.from_numpy(np.asarray(shrunk(image), dtype=np.float32)) / 255
    light = _uniform(1 - LIGHT, 1 + LIGHT, generator)
    lit = (_turned(pixels.permute(2, 0, 1), generator) - 0.5) * light + 0.5
    noisy = lit + NOISE * torch.randn(lit.shape, generator=generator)
    bytes_ = (noisy.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(bytes_.permute(1, 2, 0).numpy())


def _uniform(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _turned(pixels: Tensor, generator: Generator) -> Tensor:
    """An image (c, h, w) turned, zoomed and moved at random; edges repeated."""
    angle, zoom = _uniform(-TURN, TURN, generator), _uniform(1 - ZOOM, 1 + ZOOM, generator)
    across, down = _uniform(-MOVE, MOVE, generator), _uniform(-MOVE, MOVE, generator)
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    rows = torch.tensor([[[cosine, -sine, across], [sine, cosine, down]]])
    grid = F.affine_grid(rows, [1, *pixels.shape], align_corners=False)
    return F.grid_sample(pixels[None], grid, padding_mode="border", align_corners=False)[0]
