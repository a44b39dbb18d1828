"""Which weights matter to some answers, by squared gradients.

Source: the diagonal Fisher information, estimated at the model's own answers, as in elastic weight consolidation
(Kirkpatrick et al. 2017); the mask by a ratio is that of MMUnlearner (arXiv 2502.11051).
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from unsee.forgetting.confined import ConfinedWeight


def squared_gradients(weights: Mapping[str, ConfinedWeight], losses: Iterable[Tensor]) -> dict[str, Tensor]:
    """The mean over losses of each weight's squared gradient, in its shape; gradients are cleared.

    The weights require gradient; zero where none comes. Each loss is let go before the next is made.
    """
    found = {name: torch.zeros_like(weight.start, dtype=weight.weight.dtype) for name, weight in weights.items()}
    count = 0
    for loss in losses:
        loss.backward()
        count += 1
        for name, weight in weights.items():
            if weight.weight.grad is not None:
                found[name] += weight.weight.grad.square()
                weight.weight.grad = None
    return {name: value / max(count, 1) for name, value in found.items()}


def salient(target: Tensor, retained: Tensor, least: float) -> Tensor:
    """Where the target's squared gradient is above 0 and at least `least` times the retained one: bool, that shape."""
    return (target >= least * retained) & (target > 0)
