"""The strongest directions of a symmetric matrix.

Source: subspace iteration, Halko, Martinsson and Tropp (2011), algorithm 4.4.
"""

import torch
from torch import Tensor

OVERSAMPLED = 32  # directions that the subspace iteration carries beside those it is asked for


def leading(second: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """About the `rank` largest eigenvalues (rank,) float64, the largest last, and eigenvectors (d, rank) float32.

    Of a positive semidefinite (d, d) float32, rank < d; from a fixed start, which takes seconds where all eigenvectors
    of a wide layer would take minutes.
    """
    start = torch.randn(len(second), rank + OVERSAMPLED, generator=torch.Generator().manual_seed(0)).to(second.device)
    basis = torch.linalg.qr(second @ start).Q
    for _ in range(2):
        basis = torch.linalg.qr(second @ basis).Q
    values, inner = torch.linalg.eigh((basis.T @ second @ basis).double())
    return values[-rank:].clamp(min=0), basis @ inner[:, -rank:].float()
