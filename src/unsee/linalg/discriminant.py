"""Fisher's linear discriminant in high dimension: what tells concepts apart whatever else varies within them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from unsee.errors import InputError

EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True, eq=False)
class Discriminant:
    """The leading directions by the ratio of variance between concepts to variance within them.

    The coordinates of x are (x - mean) @ filters.T; pooled within the concepts they are uncorrelated with unit
    variance, up to the ridge, which takes a little off. Moving x by `shift @ patterns` moves its coordinates by `shift`
    and leaves every discarded direction as it was.
    """

    mean: Tensor
    """(d,) mean of the samples."""
    filters: Tensor
    """(q, d)."""
    patterns: Tensor
    """(q, d), biorthogonal to the filters."""
    ratios: Tensor
    """(q,) variance between over variance within, largest first."""
    concepts: Tensor
    """(c, q) coordinates of the mean of each concept, in the order of the sorted concept numbers."""

    def coordinates(self, samples: Tensor) -> Tensor:
        """(n, q) coordinates of samples (n, d)."""
        return (samples - self.mean) @ self.filters.T


def _principal(centred: Tensor, count: int) -> Tensor:
    """The leading right singular vectors (k, d) of float64 (n, d), k <= count, by its smaller Gram matrix."""
    many = len(centred) > centred.shape[1]
    values, vectors = torch.linalg.eigh(centred.T @ centred if many else centred @ centred.T)
    kept = values > values.clamp(min=0).max() * len(values) * EPS
    values, vectors = values[kept].flip(0)[:count], vectors[:, kept].flip(1)[:, :count]
    basis: Tensor = vectors if many else centred.T @ vectors / values.sqrt()
    return basis.T


def fit_discriminant(samples: Tensor, concept: Tensor, principal: int = 512, ridge: float = 1e-2) -> Discriminant:
    """Fits samples (n, d) with concept numbers (n,) int64; everything returned is float32.

    The samples are reduced to `principal` principal components first, and `ridge` times the mean within variance is
    added to the within scatter, so that fewer samples than dimensions do no harm. Between the concepts, each counts
    alike, however many samples it has. One direction fewer than there are concepts is meaningful, and returned; fewer
    where there are fewer components. Raises ValueError for fewer than two concepts, and InputError, a ValueError, where
    no concept has two different samples. Source: Fisher (1936), Rao (1948); patterns of a linear filter: Haufe et al.
    (2014).
    """
    names = concept.unique()
    if len(names) < 2:
        raise ValueError(f"a discriminant needs at least two concepts, got {len(names)}")
    # Centred in float64: a mean rounded to float32 would leave a direction of its own where it is far above the spread.
    wide = samples.double()
    mean = wide.mean(0)
    centred = wide - mean
    basis = _principal(centred, principal)
    reduced = centred @ basis.T
    centers = torch.stack([reduced[concept == name].mean(0) for name in names])
    inside = reduced - centers[torch.searchsorted(names, concept)]
    within = inside.T @ inside / len(inside)
    if within.trace() <= EPS * reduced.square().sum() / len(reduced):
        raise InputError("no concept has two different samples; give several of each, to tell what varies within one.")
    within += ridge * within.diagonal().mean() * torch.eye(len(within), dtype=within.dtype, device=within.device)
    factor = torch.linalg.cholesky(within)
    inverse = torch.linalg.inv(factor)
    between = centers - centers.mean(0)
    values, vectors = torch.linalg.eigh(inverse @ (between.T @ between / len(between)) @ inverse.T)
    count = min(len(names) - 1, len(values))
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    filters, patterns = vectors.T @ inverse @ basis, (factor @ vectors).T @ basis
    return Discriminant(
        mean=mean.float(),
        filters=filters.float(),
        patterns=patterns.float(),
        ratios=values.clamp(min=0).float(),
        concepts=(centers @ inverse.T @ vectors).float(),
    )
