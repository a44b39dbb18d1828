"""Variations of target images that a camera could have made as well: turned, moved, lit otherwise, noisier."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional as F

TURN, ZOOM, MOVE = math.radians(10), 0.1, 0.1  # largest angle, change of size, and shift as a share of half the side
LIGHT, NOISE = 0.12, 0.015  # largest change of contrast; standard deviation of the noise, of the range of a pixel
LARGEST = 2048  # pixels a side; larger photos are shrunk, because processors make them smaller still


def varied(images: Sequence[Image.Image], generator: Generator) -> list[Image.Image]:
    """One variation of each RGB image, of the same size up to LARGEST."""
    return [_varied(image, generator) for image in images]


def _varied(image: Image.Image, generator: Generator) -> Image.Image:
    if max(image.size) > LARGEST:
        image = image.copy()
        image.thumbnail((LARGEST, LARGEST))
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32)) / 255
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
