"""Variations of target images that a camera could have made as well: turned, moved, lit otherwise, noisier."""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from unsee.models.features import Inputs

TURN, ZOOM, MOVE = math.radians(10), 0.1, 0.1  # largest angle, change of size, and shift as a share of half the side
LIGHT, NOISE = 0.12, 0.06  # largest change of brightness; standard deviation in normalised pixels


def _uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)


def _turned(pixels: Tensor, generator: Generator) -> Tensor:
    """Each image (n, c, h, w) turned, zoomed and moved at random; edges repeated."""
    count = len(pixels)
    angle, zoom = _uniform(count, -TURN, TURN, generator), _uniform(count, 1 - ZOOM, 1 + ZOOM, generator)
    across, down = _uniform(count, -MOVE, MOVE, generator), _uniform(count, -MOVE, MOVE, generator)
    cosine, sine = zoom * angle.cos(), zoom * angle.sin()
    rows = torch.stack([cosine, -sine, across], 1), torch.stack([sine, cosine, down], 1)
    grid = F.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def varied(inputs: Inputs, generator: Generator) -> Inputs:
    """One variation of each image; only 4-D pixel tensors (n, c, h, w) vary."""

    def vary(pixels: Tensor) -> Tensor:
        if pixels.dim() != 4:
            return pixels
        light = _uniform(len(pixels), 1 - LIGHT, 1 + LIGHT, generator)[:, None, None, None]
        return _turned(pixels, generator) * light + NOISE * torch.randn(pixels.shape, generator=generator)

    return {name: vary(value) for name, value in inputs.items()}
