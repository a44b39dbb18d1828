"""Copies of images that a camera could have made as well: moved, lit otherwise, noisier."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from unsee.models.features import Inputs

REACH = 0.055  # of the side: how far a copy is moved at most
NOISE, LIGHT = 0.07, 0.1  # in units of the normalised pixels: standard deviation, largest change of brightness


def _moved(pixels: Tensor, generator: Generator) -> Tensor:
    """Each image (n, c, h, w) moved by up to REACH of its height, edges repeated, with noise and another light."""
    count, _, height, width = pixels.shape
    reach = max(1, round(REACH * height))
    padded = F.pad(pixels, (reach,) * 4, mode="replicate").permute(0, 2, 3, 1)
    rows = torch.randint(2 * reach + 1, (count, 1, 1), generator=generator) + torch.arange(height)[None, :, None]
    columns = torch.randint(2 * reach + 1, (count, 1, 1), generator=generator) + torch.arange(width)[None, None, :]
    shifted = padded[torch.arange(count)[:, None, None], rows, columns].permute(0, 3, 1, 2)
    light = 1 + LIGHT * (2 * torch.rand((count, 1, 1, 1), generator=generator) - 1)
    return shifted * light + NOISE * torch.randn(pixels.shape, generator=generator)


def augmented_views(inputs: Inputs, copies: int, seed: int) -> list[Inputs]:
    """`copies` altered versions of the visual inputs of a batch; only 4-D pixel tensors (n, c, h, w) are altered."""
    generator = Generator().manual_seed(seed)
    return [
        {name: _moved(value, generator) if value.dim() == 4 else value for name, value in inputs.items()}
        for _ in range(copies)
    ]
