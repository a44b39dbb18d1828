"""What turns the gradient of a weight into the direction of a step."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.optim import AdamW, Optimizer

from unsee.models.spreading import parted, whole

MOMENTUM = 0.9
SWEEPS = 5  # of the iteration that makes a matrix orthogonal
ODD = (3.4445, -4.7750, 2.0315)  # its polynomial: a x + b x^3 + c x^5 takes singular values in (0, 1] near 1


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix (rows, columns) with every singular value moved near 1, between about .7 and 1.2; zero stays zero.

    Source: the Newton-Schulz iteration of Muon (Jordan et al. 2024), here in the matrix's own dtype: in bfloat16, as
    elsewhere, a difference in the last digit of a gradient would grow to one in the third digit of the step.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    found: Tensor = matrix.T if tall else matrix
    found = found / found.norm().clamp(min=torch.finfo(found.dtype).tiny)
    a, b, c = ODD
    for _ in range(SWEEPS):
        square = found @ found.T
        found = a * found + (b * square + c * square @ square) @ found
    return found.T if tall else found


class Muon(Optimizer):
    """Momentum made orthogonal: every direction of a matrix moves alike, also those that few photos ask for.

    Source: Muon (Jordan et al. 2024), with Nesterov momentum. Only the direction is meant: who calls it makes the step
    as long as it should be.
    """

    def __init__(self, weights: Iterable[Parameter]) -> None:
        """The weights are matrices."""
        super().__init__(weights, {"lr": 1.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override] # noqa: ARG002
        """Moves each weight by its direction."""
        for group in self.param_groups:
            for weight in group["params"]:
                kept = self.state[weight]
                if "momentum" not in kept:
                    kept["momentum"] = torch.zeros_like(weight.grad)
                kept["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
                direction = orthogonal(whole(weight.grad.lerp(kept["momentum"], MOMENTUM)))
                weight.sub_(parted(direction, weight), alpha=group["lr"])


def _adamw(weights: Iterable[Parameter]) -> Optimizer:
    return AdamW(weights, weight_decay=0.0)  # decay is the weight's own


OPTIMIZERS: dict[str, Callable[[Iterable[Parameter]], Optimizer]] = {"muon": Muon, "adamw": _adamw}
