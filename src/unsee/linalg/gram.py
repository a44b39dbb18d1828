"""Moments of the vectors that enter a linear layer: streamed, additive, and subtractable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 1024  # vectors multiplied at a time, so that copies stay small, and sums in float32 short
WIDE = 256  # width from which on the products of ROWS vectors are float32, and summed up in float64
COUNT_ROUNDING = 1e-12  # relative error allowed to a count, which is a sum of float weights


@dataclass(frozen=True, eq=False)
class Gram:
    """Sums over vectors h of width d with weights w (1 unless given); additive over any split of the vectors.

    Raises ValueError where the shapes or dtypes do not fit.
    """

    outer: Tensor
    """Sum of w h h^T: (d, d) float64, symmetric, not divided by the count."""
    total: Tensor
    """Sum of w h: (d,) float64."""
    count: float
    """Sum of w: the number of vectors where none was weighted."""

    def __post_init__(self) -> None:
        width = self.total.numel()
        if self.total.shape != (width,) or self.outer.shape != (width, width):
            raise ValueError(
                f"a Gram needs outer (d, d) and total (d,), got {tuple(self.outer.shape)} and {tuple(self.total.shape)}"
            )
        if self.outer.dtype != torch.float64 or self.total.dtype != torch.float64:
            raise ValueError(f"a Gram needs float64, got {self.outer.dtype} and {self.total.dtype}: use .double()")

    @classmethod
    def empty(cls, width: int) -> "Gram":
        """The Gram of no vectors."""
        return cls(torch.zeros(width, width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64), 0.0)

    @property
    def width(self) -> int:
        """d, the length of the vectors."""
        return self.total.numel()

    @property
    def mean(self) -> Tensor:
        """Mean vector (d,) float64; zeros where the Gram is empty."""
        return self.total / self.count if self.count else torch.zeros_like(self.total)

    @property
    def second(self) -> Tensor:
        """Mean of h h^T, not centred: (d, d) float64, symmetric; zeros where the Gram is empty."""
        return self.outer / self.count if self.count else torch.zeros_like(self.outer)

    @property
    def covariance(self) -> Tensor:
        """Mean of (h - mean)(h - mean)^T: (d, d) float64, symmetric; divided by the count, not the count less one."""
        return self.second - torch.outer(self.mean, self.mean)

    def __add__(self, other: "Gram") -> "Gram":
        """The Gram of both sets of vectors. Raises ValueError where the widths differ."""
        self._check_width(other, "add")
        return Gram(self.outer + other.outer, self.total + other.total, self.count + other.count)

    def __sub__(self, other: "Gram") -> "Gram":
        """The Gram without a subset that was counted in it; empty where nothing is left.

        Rounding can leave eigenvalues slightly below zero. Raises ValueError where the widths differ or `other` counts
        more than this Gram.
        """
        self._check_width(other, "subtract")
        left, rounding = self.count - other.count, COUNT_ROUNDING * self.count
        if left < -rounding:
            raise ValueError(
                f"cannot subtract a Gram of {other.count:g} vectors from one of {self.count:g}: "
                "subtract only what was added"
            )
        outer, total = self.outer - other.outer, self.total - other.total
        if left <= rounding:
            return Gram(torch.zeros_like(outer), torch.zeros_like(total), 0.0)
        return Gram(outer, total, left)

    def to(self, device: torch.device) -> "Gram":
        """The same on a device, which must have float64."""
        return Gram(self.outer.to(device), self.total.to(device), self.count)

    def weighted(self, weight: float) -> "Gram":
        """The Gram of the same vectors, each counted `weight` times; weight >= 0."""
        return Gram(weight * self.outer, weight * self.total, weight * self.count)

    def _check_width(self, other: "Gram", verb: str) -> None:
        if self.width != other.width:
            raise ValueError(f"cannot {verb} Grams of widths {self.width} and {other.width}: they are of other layers")


class GramStream:
    """Collects a Gram from batches of vectors of one width; the order and the size of the batches do not matter.

    Sums in float64 on `device`, where each batch is moved to; an accelerator's device must have float64. From width
    WIDE on, products of up to ROWS float32 vectors are summed in float32 first: the error of an entry is then at most
    ROWS times the rounding of float32, 6e-8, of the sum of the sizes of its products.

    With `every` above 1, of all vectors in their order only every so-manieth is counted, for as many. Of n vectors, the
    mean of an entry's products then has a standard error of about the root of (every / n) of their root mean square.
    """

    def __init__(self, width: int, device: torch.device | str = "cpu", every: int = 1) -> None:
        self._outer = torch.zeros(width, width, dtype=torch.float64, device=device)
        self._total = torch.zeros(width, dtype=torch.float64, device=device)
        self._count = 0.0
        self._every, self._next = every, 0

    @torch.no_grad()
    def update(self, h: Tensor, weight: Tensor | None = None) -> None:
        """Count the vectors h (..., d) of any float dtype, each with a nonnegative weight (...) or 1.

        Weights are for streams that count every vector.

        Raises ValueError, and counts nothing, where h is not float, has another width or is not finite, or where a
        weight is missing, negative or not finite.
        """
        self._check(h, weight)
        count = h.shape[:-1].numel()
        vectors = h.reshape(count, h.shape[-1])[self._next :: self._every]
        self._next = (self._next - count) % self._every
        count = len(vectors)
        weights = None if weight is None else weight.reshape(count, 1)
        single = self._total.numel() >= WIDE and vectors.dtype != torch.float64 and weights is None
        for start in range(0, count, ROWS):
            if single:
                rows = vectors[start : start + ROWS].to(self._total.device).float()
                with torch.autocast(rows.device.type, enabled=False):
                    self._outer += rows.T @ rows
                self._total += rows.sum(0, dtype=torch.float64)
                continue
            rows = self._rows(vectors, start)
            weighted = rows if weights is None else rows * self._rows(weights, start)
            self._outer.addmm_(weighted.T, rows)
            self._total += weighted.sum(0)
        self._count += count if weight is None else float(weight.to(self._total.device).double().sum())

    def reduce(self, add: Callable[[list[Tensor]], None]) -> None:
        """Lets `add` change the sums in place, as an addition over processes does."""
        number = torch.tensor([self._count], dtype=torch.float64).to(self._total.device)
        add([self._outer, self._total, number])
        self._count = float(number)

    def sums(self) -> list[Tensor]:
        """What has been summed up: (d, d), (d,), how many and which is next (2,), float64 on the CPU; copies."""
        number = torch.tensor([self._count, self._next], dtype=torch.float64)
        return [self._outer.cpu().clone(), self._total.cpu().clone(), number]

    def go_on(self, sums: Sequence[Tensor]) -> None:
        """Has summed up what another stream's `sums` say, instead of what it had."""
        outer, total, number = sums
        self._outer.copy_(outer)
        self._total.copy_(total)
        self._count, self._next = float(number[0]), int(number[1])

    @property
    def gram(self) -> Gram:
        """The Gram of all vectors so far, on the CPU, a copy that later updates leave as it is."""
        found = Gram(((self._outer + self._outer.T) / 2).cpu(), self._total.cpu().clone(), self._count)
        return found if self._every == 1 else found.weighted(self._every)

    def _rows(self, table: Tensor, start: int) -> Tensor:
        return table[start : start + ROWS].to(self._total.device).double()

    def _check(self, h: Tensor, weight: Tensor | None) -> None:
        width = self._total.numel()
        if h.dim() == 0 or h.shape[-1] != width:
            raise ValueError(f"expected vectors of width {width}, got a tensor of shape {tuple(h.shape)}")
        if not h.is_floating_point():
            raise ValueError(f"expected float vectors, got {h.dtype}")
        _check_finite("h", h)
        if weight is None:
            return
        if self._every > 1:
            raise ValueError("a stream that counts some vectors alone takes no weights")
        if weight.shape != h.shape[:-1]:
            raise ValueError(f"expected one weight per vector, {tuple(h.shape[:-1])}, got {tuple(weight.shape)}")
        _check_finite("weight", weight)
        if (weight < 0).any():
            raise ValueError(f"expected weights of 0 or more, got {float(weight.min()):g}")


def gram_of(h: Tensor, weight: Tensor | None = None) -> Gram:
    """The Gram of vectors h (..., d) of any float dtype with weights (...) or 1, on the CPU in float64.

    Raises ValueError as `GramStream.update` does.
    """
    stream = GramStream(h.shape[-1] if h.dim() else 0)
    stream.update(h, weight)
    return stream.gram


def _check_finite(name: str, values: Tensor) -> None:
    if torch.isfinite(values.sum(dtype=torch.float64 if values.dtype == torch.float64 else torch.float32)):
        return  # nothing that is not finite adds up to what is; what is finite may add up to more than there is
    bad = ~torch.isfinite(values)
    if bad.any():
        place = bad.nonzero()[0].tolist()
        raise ValueError(
            f"{name}{place} is {float(values[tuple(place)])}, one of {int(bad.sum())} numbers that are not finite: "
            "run the model in float32 or leave that input out"
        )
