"""What tests of the null space draw from: retained vectors of many shapes, and how their matrices are measured."""

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from unsee.linalg.subspace import CRITERIA, LowRank

theorem = settings(deadline=None, derandomize=True, max_examples=50)
seeds, widths, counts = st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 30)
keeps = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0])
criteria = st.sampled_from(sorted(CRITERIA))


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def retained(seed: int, count: int, width: int, rank: int | None = None) -> Tensor:
    """Vectors (count, width) with a mean and directions of unequal strength, inside `rank` dimensions."""
    inner = min(width, rank or width)
    strengths = torch.exp2(-torch.arange(inner, dtype=torch.float64))
    frame: Tensor = torch.linalg.qr(normal(seed + 1, width, inner)).Q
    return (normal(seed, count, inner) + 1) * strengths @ frame.T


def norm(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix)) if matrix.numel() else 0.0


def spectrum(matrix: Tensor) -> np.ndarray:
    """NumPy's eigenvalues, largest first."""
    return np.linalg.eigvalsh(matrix.numpy())[::-1]


def low_rank(seed: int, width: int, count: int) -> tuple[LowRank, Tensor]:
    """A random LowRank, and the same matrix written out."""
    basis, gain = torch.linalg.qr(normal(seed, width, count)).Q, normal(seed + 1, count)
    span = LowRank(float(normal(seed + 2, 1)), basis, gain)
    return span, span.scale * torch.eye(width, dtype=torch.float64) + (basis * gain) @ basis.T
