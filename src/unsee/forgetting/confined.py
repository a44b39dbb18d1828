"""A weight that training moves within a span alone."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils import swap_tensors

from unsee.linalg.subspace import Span
from unsee.models.spreading import beside_spread, whole


class ConfinedWeight:
    """A weight W (d_out, d_in) that is W0 + A S throughout: the optimizer moves A, and W only within the span of S.

    S (d_in, d_in) is symmetric: a null-space projector, a soft root, or their product where they commute; None leaves
    W free. The step is confined and not the gradient alone, because Adam's scaling by coordinate and weight decay leave
    the null space of a projected gradient. Decay acts on A, so it pulls W back to W0 and not to zero. All of it is in
    the weight's dtype, and W is confined up to its rounding. Source: the null space of Adam-NSCL and AlphaEdit; this
    form is ours.

    What the optimizer is given is `free`, A's step alone: of A itself nothing is read again, and it would be as large
    as W. It is empty between `push` and `pull`.
    """

    def __init__(
        self,
        weight: Parameter,
        span: Span | None,
        stored: torch.dtype | None = None,
        mask: Tensor | None = None,
    ) -> None:
        """W0 is kept in the dtype `stored` where that holds it exactly, to save memory.

        Where the boolean `mask` (d_out, d_in) is false, A does not move; without `span`, W neither.
        Raises ValueError where `span` does not fit the weight's input width.
        """
        self.mask = mask
        width = weight.shape[-1]
        if span is not None and span.shape != (width, width):
            raise ValueError(f"expected a span of ({width}, {width}) for the weight, got {tuple(span.shape)}")
        self.weight = weight
        self.start = weight.detach().clone()
        self.norm = float(whole(self.start.float().norm()))
        smaller = stored is not None and stored.itemsize < self.start.dtype.itemsize
        if (
            stored is not None
            and smaller
            and not whole((self.start.to(stored).to(self.start.dtype) != self.start).sum())
        ):
            self.start = self.start.to(stored)
        self.span = None if span is None else span.to(weight.device, weight.dtype)
        self.free = Parameter(weight.new_empty(0))

    @torch.no_grad()
    def pull(self) -> None:
        """Makes `free` a zero step with the gradient of A, before the optimizer's step, and clears the weight's.

        Raises ValueError where the weight has none.
        """
        if self.weight.grad is None:
            raise ValueError("the weight has no gradient; call backward first")
        with beside_spread():
            gradient = self.weight.grad if self.span is None else self.weight.grad @ self.span
            step = Parameter(torch.zeros_like(self.weight))
            step.grad = gradient if self.mask is None else gradient * self.mask
        swap_tensors(self.free, step)  # the optimizer keeps what it remembers of `free`
        self.weight.grad = None

    @torch.no_grad()
    def push(self, decay: float = 0.0, length: float | None = None) -> None:
        """Moves the weight by `free` S, after the optimizer's step, and lets go of both; A shrinks by `decay` first.

        With a `length` the step is made so long, by the norm of W0: what a step does then depends neither on the width
        of a layer nor on how large its weights are. Source: LARS (You et al. 2017, arXiv 1708.03888); S in it is ours.
        """
        if decay:
            self.weight.lerp_(self.start.to(self.weight.dtype), decay)
        with beside_spread():
            step = self.free if self.span is None else self.free @ self.span
        if length is not None:
            step = step * (length * self.norm / whole(step.norm()).clamp(min=1e-30))
        self.weight.add_(step)
        swap_tensors(self.free, Parameter(self.weight.new_empty(0)))

    @torch.no_grad()
    def restore(self) -> None:
        """Sets the weight back to W0."""
        self.weight.copy_(self.start)


def now_and_before(weights: Mapping[str, ConfinedWeight]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The values W and W0 of weights, by the same names."""
    return {name: w.weight for name, w in weights.items()}, {name: w.start for name, w in weights.items()}
