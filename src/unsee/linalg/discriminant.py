"""Fisher's linear discriminant in high dimension: what tells concepts apart whatever else varies within them."""

from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from unsee.errors import InputError
from unsee.linalg.subspace import EPS

RIDGE = 0.01
NOTHING = 1e-13  # of the whole variance; less within the concepts is rounding


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

    def to(self, device: torch.device) -> "Discriminant":
        """The same on a device."""
        return Discriminant(*(getattr(self, part.name).to(device) for part in fields(self)))


@dataclass(frozen=True, eq=False)
class Scatter:
    """Sums over samples by concept, in an origin and a basis that stay; all that a discriminant needs of them."""

    mean: Tensor
    """(d,) float64, the origin: the mean of the samples at first."""
    basis: Tensor
    """(p, d) float32, orthonormal rows: the samples' leading principal components at first."""
    counts: Tensor
    """(c,) float64, samples of each concept, in the order of the sorted concept numbers."""
    sums: Tensor
    """(c, p) float64."""
    outer: Tensor
    """(p, p) float64, the sum of the outer products of all samples."""
    ridge: Tensor = field(default_factory=lambda: torch.tensor(RIDGE, dtype=torch.float64))
    """(), float64: times the mean variance within, what is added to the within scatter."""

    def reduced(self, samples: Tensor) -> Tensor:
        """(n, p) float64 of samples (n, d)."""
        return (samples.double() - self.mean) @ self.basis.double().T

    def without(self, samples: Tensor, concept: Tensor) -> "Scatter":
        """The sums without samples (n, d) of these concepts (n,), places in `counts`, that were counted; exact.

        Raises ValueError where a concept has fewer.
        """
        counts = self.counts - torch.bincount(concept, minlength=len(self.counts))
        if (counts < 0).any():
            raise ValueError("a concept has fewer samples than should be taken out; take out only what was counted")
        reduced = self.reduced(samples)
        sums = self.sums.index_add(0, concept, -reduced) * (counts > 0)[:, None]
        return replace(self, counts=counts, sums=sums, outer=self.outer - reduced.T @ reduced)

    def discriminant(self) -> Discriminant:
        """Fisher's directions over the concepts that have samples, everything float32.

        The ridge is there so that fewer samples than dimensions do no harm. Between the concepts, each counts alike,
        however many samples it has. One direction fewer than there are concepts is meaningful, and returned; fewer
        where there are fewer components. Raises ValueError for fewer than two concepts, and InputError, a ValueError,
        where no concept has two different samples.
        """
        counts, sums = self.counts[self.counts > 0], self.sums[self.counts > 0]
        if len(counts) < 2:
            raise ValueError(f"a discriminant needs at least two concepts, got {len(counts)}")
        centers = sums / counts[:, None]
        within = (self.outer - centers.T @ sums) / counts.sum()
        if within.trace() <= NOTHING * self.outer.trace() / counts.sum():
            raise InputError(
                "no concept has two different samples; give several of each, to tell what varies within one."
            )
        within += (
            self.ridge * within.diagonal().mean() * torch.eye(len(within), dtype=within.dtype, device=within.device)
        )
        factor = torch.linalg.cholesky(within)
        inverse = torch.linalg.inv(factor)
        between = centers - centers.mean(0)
        values, vectors = torch.linalg.eigh(inverse @ (between.T @ between / len(between)) @ inverse.T)
        count = min(len(counts) - 1, len(values))
        values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
        basis = self.basis.double()
        return Discriminant(
            mean=self.mean.float(),
            filters=(vectors.T @ inverse @ basis).float(),
            patterns=((factor @ vectors).T @ basis).float(),
            ratios=values.clamp(min=0).float(),
            concepts=(centers @ inverse.T @ vectors).float(),
        )


def principal_directions(centred: Tensor, count: int) -> Tensor:
    """The leading right singular vectors (k, d) of float64 (n, d), k <= count, by its smaller Gram matrix.

    Fewer where it has a lower rank.
    """
    many = len(centred) > centred.shape[1]
    values, vectors = torch.linalg.eigh(centred.T @ centred if many else centred @ centred.T)
    kept = values > values.clamp(min=0).max() * len(values) * EPS
    values, vectors = values[kept].flip(0)[:count], vectors[:, kept].flip(1)[:, :count]
    basis: Tensor = vectors if many else centred.T @ vectors / values.sqrt()
    return basis.T


def scatter(samples: Tensor, concept: Tensor, principal: int = 512) -> Scatter:
    """Sums up samples (n, d) with concept numbers (n,) int64, in their `principal` leading principal components.

    Raises ValueError for fewer than two concepts.
    """
    names = concept.unique()
    if len(names) < 2:
        raise ValueError(f"a discriminant needs at least two concepts, got {len(names)}")
    # Centred in float64: a mean rounded to float32 would leave a direction of its own where it is far above the spread.
    mean = samples.double().mean(0)
    basis = principal_directions(samples.double() - mean, principal).float()
    return summed_up(Scatter(mean, basis, *[mean.new_zeros(0)] * 3), samples, concept)


def summed_up(like: Scatter, samples: Tensor, concept: Tensor) -> Scatter:
    """Sums of samples (n, d) with concept numbers (n,) int64, in the origin and the basis of another scatter."""
    names, reduced = concept.unique(), like.reduced(samples)
    place = torch.searchsorted(names, concept)
    sums = reduced.new_zeros(len(names), reduced.shape[1]).index_add_(0, place, reduced)
    return replace(like, counts=torch.bincount(place).double(), sums=sums, outer=reduced.T @ reduced)


def fit_discriminant(samples: Tensor, concept: Tensor, principal: int = 512, ridge: float = RIDGE) -> Discriminant:
    """The discriminant of samples (n, d) with concept numbers (n,) int64; see `scatter` and `Scatter.discriminant`.

    Source: Fisher (1936), Rao (1948); patterns of a linear filter: Haufe et al. (2014).
    """
    found = scatter(samples, concept, principal)
    return replace(found, ridge=torch.tensor(ridge, dtype=torch.float64)).discriminant()
