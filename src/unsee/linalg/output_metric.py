"""How much each direction of a layer's outputs counts.

Source: the second factor of K-FAC (Martens and Grosse 2015, arXiv 1503.05671); that it is of low rank, ours.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from unsee.linalg.leading import leading

STRONGEST = 32  # directions that count by their strength
WIDE = 2048  # width from which on they are found without all others
REST = 0.05  # what every direction counts beside, in units of the mean over directions


def inner_product(one: Tensor, other: Tensor) -> Tensor:
    """tr(X^T Y) of two matrices of one shape: a scalar."""
    return (one * other).sum()


@dataclass(frozen=True, eq=False)
class OutputMetric:
    """B = rows^T rows + rest I, for outputs y (d_out,): y counts y^T B y.

    `rows` is (k, d_out), each a direction times the root of its strength.
    """

    rows: Tensor
    rest: float

    @classmethod
    def of(cls, second: Tensor) -> "OutputMetric":
        """From the second moment (d_out, d_out) float32 of slopes; every direction alike where none is above 0.

        The strengths have the mean 1 over all directions. On the CPU.
        """
        second = second.cpu()
        if len(second) >= WIDE:
            strength, directions = leading(second, STRONGEST)
        else:
            strength, directions = torch.linalg.eigh(second.double())
        strength, directions = strength[-STRONGEST:].clamp(min=0), directions[:, -STRONGEST:].to(strength)
        mean = strength.sum() / len(second)
        if not mean > 0:
            return cls(second.new_zeros(0, len(second)), 1.0)
        rows = (directions * (strength / mean / (1 + REST)).sqrt()).T
        return cls(rows.to(second), REST / (1 + REST))

    def inner(self, one: Tensor, other: Tensor) -> Tensor:
        """tr(X^T B Y) of two matrices (d_out, d_in): a scalar, >= 0 where they are the same."""
        return inner_product(self.rows @ one, self.rows @ other) + self.rest * inner_product(one, other)

    def to(self, like: Tensor) -> "OutputMetric":
        """The same on the device and in the dtype of a tensor."""
        return OutputMetric(self.rows.to(like), self.rest)
