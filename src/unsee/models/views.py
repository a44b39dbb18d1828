"""Variations of target images: turned, moved and lit otherwise, and mixed with other images.

A request brings few photos; what counts are the photos that it does not bring. A mixture shows the concept in parts of
another scene, or hardly at all: how far it still is the concept is for the reference features to say.
"""

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


def _patched(image: Tensor, other: Tensor, generator: Generator) -> Tensor:
    """A random rectangle of `other`, a quarter to three quarters of each side, put into a copy of `image` (c, h, w)."""
    sides = torch.tensor(image.shape[1:])
    size = (sides * _uniform(2, 0.25, 0.75, generator)).long()
    start = ((sides - size) * torch.rand(2, generator=generator)).long()
    (top, left), (bottom, right) = start.tolist(), (start + size).tolist()
    mixed = image.clone()
    mixed[:, top:bottom, left:right] = other[:, top:bottom, left:right]
    return mixed


def _mixed(pixels: Tensor, concept: Tensor, others: Tensor | None, generator: Generator) -> Tensor:
    """Each image as it is, blended, or patched, with one of the same concept or one of `others`, a quarter each way."""
    result = pixels.clone()
    for index in range(len(pixels)):
        way, share = torch.rand(2, generator=generator).tolist()
        same = torch.where(concept == concept[index])[0]
        friend = pixels[same[torch.randint(len(same), (1,), generator=generator)]][0]
        stranger = friend if others is None else others[torch.randint(len(others), (1,), generator=generator)][0]
        if way < 0.25:
            result[index] = torch.lerp(friend, pixels[index], 0.3 + 0.4 * share)
        elif way < 0.5:
            result[index] = torch.lerp(stranger, pixels[index], 0.5 + 0.4 * share)
        elif way < 0.75:
            result[index] = _patched(pixels[index], friend if share < 0.6 else stranger, generator)
    return result


def varied(inputs: Inputs, concept: Tensor, others: Inputs | None, generator: Generator) -> Inputs:
    """One variation of each image; only 4-D pixel tensors (n, c, h, w) vary. `others` are inputs of retained images."""

    def vary(name: str, pixels: Tensor) -> Tensor:
        if pixels.dim() != 4:
            return pixels
        mixed = _mixed(_turned(pixels, generator), concept, None if others is None else others[name], generator)
        light = _uniform(len(pixels), 1 - LIGHT, 1 + LIGHT, generator)[:, None, None, None]
        return mixed * light + NOISE * torch.randn(pixels.shape, generator=generator)

    return {name: vary(name, value) for name, value in inputs.items()}
