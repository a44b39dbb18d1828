"""What the retained vectors span, and updates of a weight that stay outside it.

Source: arXiv 2605.05909 names the null space of retained knowledge; its formulas are not available, these are ours.
The null space of an uncentred second moment: Adam-NSCL (Wang et al. 2021), AlphaEdit (Fang et al. 2025).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from unsee.errors import InputError, unknown
from unsee.linalg.gram import Gram
from unsee.linalg.leading import leading
from unsee.linalg.output_metric import OutputMetric, inner_product

EPS = torch.finfo(torch.float64).eps
WIDE, RANK = 2048, 512  # from which width on the soft root is of low rank, and which


def energy(gram: Gram, keep: float) -> Tensor:
    """The fewest top eigenvectors (d, k) of the second moment that hold at least `keep` of its trace."""
    _check_keep(keep)
    values, vectors = _spectrum(gram.second)
    return vectors[:, : _fewest(values, keep)]


def centred(gram: Gram, keep: float) -> Tensor:
    """The mean direction, then the fewest top directions with `keep` of the covariance's trace beside it: (d, k).

    Both are orthonormal together: the covariance is taken inside the orthogonal complement of the mean. The mean is
    protected even at keep = 0; where it is zero up to rounding, this is `energy`.
    """
    _check_keep(keep)
    second, mean = gram.second, gram.mean
    if mean.norm() <= gram.width * EPS * second.trace().clamp(min=0).sqrt():
        return energy(gram, keep)
    frame = torch.linalg.qr(mean[:, None], mode="complete").Q
    direction, complement = frame[:, :1], frame[:, 1:]
    # Inside the complement the covariance equals the second moment, without the cancellation of subtracting the mean.
    inside = _symmetric(complement.T @ second @ complement)
    values, vectors = _spectrum(inside, beside=float(direction.T @ second @ direction))
    return torch.cat([direction, complement @ vectors[:, : _fewest(values, keep)]], dim=1)


def rank(gram: Gram, keep: float) -> Tensor:
    """The round(keep d) top eigenvectors (d, k) of the second moment, or all of its range where that is less."""
    _check_keep(keep)
    _, vectors = _spectrum(gram.second)
    return vectors[:, : round(keep * gram.width)]


def kaiser(gram: Gram, keep: float) -> Tensor:
    """The eigenvectors (d, k) of the second moment with an eigenvalue above (1 - keep) times the mean eigenvalue.

    The mean eigenvalue is trace / d. At keep = 0, k = 0 by definition: the bound, then the mean eigenvalue, would
    still protect what exceeds it. Source: the Kaiser criterion for principal components, with a factor below 1 as in
    Jolliffe (1972).
    """
    _check_keep(keep)
    values, vectors = _spectrum(gram.second)
    count = int((values > (1 - keep) * values.sum() / gram.width).sum()) if keep else 0
    return vectors[:, :count]


Criterion = Callable[[Gram, float], Tensor]
CRITERIA: Mapping[str, Criterion] = {"energy": energy, "centred": centred, "rank": rank, "kaiser": kaiser}


def retained_basis(gram: Gram, criterion: str, keep: float) -> Tensor:
    """Orthonormal basis U (d, k) float64 of what an update must not touch, the strongest direction first.

    `criterion` is a name in CRITERIA; `keep` in [0, 1] is how much it protects. keep = 1 protects the numerical range,
    the eigenvalues above d eps times the largest: the counted vectors then lie in U but for a mean squared norm of
    about d^2 eps times the largest. keep = 0 protects nothing, or only the mean (`centred`, which puts it first).
    An empty Gram gives k = 0. Raises InputError, a ValueError, for an unknown criterion or a `keep` out of range.
    """
    if criterion not in CRITERIA:
        raise unknown("criterion", criterion, CRITERIA)
    return CRITERIA[criterion](gram, keep)


def null_projector(basis: Tensor) -> Tensor:
    """P = I - U U^T (d, d) float64, of rank d - k, for orthonormal columns U (d, k)."""
    basis = basis.double()
    return _symmetric(_identity(basis) - basis @ basis.T)


def soft_root(gram: Gram, ridge: float) -> Tensor:
    """((S + r I) / t)^-1/2 (d, d) float64, with S the second moment, t = trace(S) / d and r = ridge t.

    The soft counterpart of `null_projector`: symmetric, positive definite, of norm ridge^-1/2 outside the numerical
    range and small where the retained vectors are strong. An update A @ soft_root moves retained outputs by a mean
    square of at most t |A|^2, which every direction far above the ridge comes close to alike, so that gradient descent
    on A goes where the retained vectors are weak and the target's are not: the direction of Fisher's discriminant. Its
    square is ridge^-1 times the ridge solution r (S + r I)^-1 of AlphaEdit. The identity for an empty Gram.
    Raises InputError, a ValueError, unless ridge > 0 and finite.
    """
    if not 0 < ridge < float("inf"):
        raise InputError(f"ridge is {ridge}: expected a finite number above 0; small protects more.")
    scale = gram.second.diagonal().mean()
    if scale <= 0:
        return _identity(gram.outer)
    values, vectors = torch.linalg.eigh(gram.second)
    values = values.clamp(min=0)
    return _symmetric((vectors * (values / scale + ridge).rsqrt()) @ vectors.T)


@dataclass(frozen=True, eq=False)
class LowRank:
    """The symmetric matrix scale I + Q diag(gain) Q^T, for orthonormal columns Q (d, k) and gain (k,)."""

    scale: float
    basis: Tensor
    gain: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(d, d)."""
        return len(self.basis), len(self.basis)

    def __rmatmul__(self, matrix: Tensor) -> Tensor:
        """matrix @ self, for a matrix (n, d)."""
        moved: Tensor = ((matrix @ self.basis) * self.gain) @ self.basis.T
        return self.scale * matrix + moved

    def to(self, device: torch.device, dtype: torch.dtype) -> "LowRank":
        """The same in another place or precision."""
        return LowRank(self.scale, self.basis.to(device, dtype), self.gain.to(device, dtype))


def soft_root_low_rank(gram: Gram, ridge: float, rank: int) -> LowRank:
    """`soft_root` for wide layers: exact in about the `rank` strongest directions, the mean of the others elsewhere.

    In float32; rank < d. Raises InputError, a ValueError, unless ridge > 0 and finite.
    """
    if not 0 < ridge < float("inf"):
        raise InputError(f"ridge is {ridge}: expected a finite number above 0; small protects more.")
    second = gram.second.float()
    values, basis = leading(second, rank)
    mean = float(gram.second.diagonal().mean())
    if mean <= 0:
        return LowRank(1.0, basis, basis.new_zeros(rank))
    rest = max(float(second.diagonal().double().sum()) - float(values.sum()), 0.0) / (len(second) - rank)
    outside = (rest / mean + ridge) ** -0.5
    return LowRank(outside, basis, ((values / mean + ridge).rsqrt() - outside).float())


Span = Tensor | LowRank


def span(gram: Gram, criterion: str, keep: float, ridge: float) -> Span:
    """What confines a layer's update, float32: `soft_root` for the criterion "soft", else `null_projector`.

    The soft root of layers of width WIDE and more is of low rank.
    Raises InputError, a ValueError, for an unknown criterion or a value out of range.
    """
    if criterion != "soft":
        return null_projector(retained_basis(gram, criterion, keep)).float()
    if gram.width >= WIDE:
        return soft_root_low_rank(gram, ridge, RANK)
    return soft_root(gram, ridge).float()


def retained_drift(delta: Tensor, weight: Tensor, gram: Gram, metric: OutputMetric | None = None) -> float:
    """tr(dW G dW^T) / tr(W G W^T) in float64: the mean of |dW h|^2 over that of |W h|^2, h the vectors of the Gram.

    delta and weight (d_out, d_in). Directions of the outputs count by the `metric`, if there is one. 0 where both are
    zero, infinity where only the divisor is.
    """
    moved, before = energy_out(delta, gram, metric), energy_out(weight, gram, metric)
    if before > 0:
        return moved / before
    return float("inf") if moved > 0 else 0.0


@torch.no_grad()
def energy_out(weight: Tensor, gram: Gram, metric: OutputMetric | None = None) -> float:
    """tr(W G W^T) of a weight (d_out, d_in), in float64; >= 0. Directions of the outputs count by the `metric`."""
    wide = weight.to(gram.outer.device).double()
    inner = inner_product if metric is None else metric.to(wide).inner
    return max(float(inner(wide, wide @ gram.outer)), 0.0)


def _spectrum(matrix: Tensor, beside: float = 0.0) -> tuple[Tensor, Tensor]:
    """Eigenvalues (r,), largest first, and eigenvectors (d, r) of the numerical range of a symmetric (d, d) matrix.

    `beside` is energy outside the matrix that rounding in it is relative to.
    """
    values, vectors = torch.linalg.eigh(matrix)
    values, vectors = values.flip(0), vectors.flip(1)
    largest = values[:1].clamp(min=0) + beside
    inside = values > len(values) * EPS * largest
    return values[inside], vectors[:, inside]


def _fewest(values: Tensor, keep: float) -> int:
    """The smallest number of leading values that sum to at least `keep` of the whole."""
    if not keep or not len(values):
        return 0
    sums = values.cumsum(0)
    return int(torch.searchsorted(sums, keep * sums[-1])) + 1


def _identity(like: Tensor) -> Tensor:
    return torch.eye(len(like), dtype=torch.float64, device=like.device)


def _symmetric(matrix: Tensor) -> Tensor:
    return (matrix + matrix.T) / 2


def _check_keep(keep: float) -> None:
    if not 0 <= keep <= 1:
        raise InputError(f"keep is {keep}: expected a share from 0 (protect nothing) to 1 (protect all).")
