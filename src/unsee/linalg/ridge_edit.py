"""Edits of a linear layer that are solved for instead of trained."""

import torch
from torch import Tensor

from unsee.errors import InputError
from unsee.linalg.gram import Gram


def ridge_edit(
    steps: Tensor,
    inputs: Gram,
    retained: Gram,
    keep: float,
    ridge: float,
    guard: Gram | None = None,
    slope: Tensor | None = None,
) -> Tensor:
    """dW = argmin of |dW h - s|^2 over target vectors h and wished steps s, kept small on retained vectors.

    The mean of |dW h - s|^2 over the target's vectors, plus `keep` tr(dW S dW^T) with S the retained second moment (and
    `outer` of the guard), plus `ridge` t |dW|^2 with t = trace(S) / d. Where outputs for the guard's vectors have moved
    before, `slope` (d_out, d_in) is that of their `Anchor` at W, and what is kept small is the whole of it.

    `steps` (d_out, d_in) is the sum of s h^T over the vectors that `inputs` counts. Returns dW (d_out, d_in) float64.
    Source: the least squares of AlphaEdit and MEMIT; the guard and the units are ours.
    Raises InputError, a ValueError, unless ridge > 0 and keep >= 0, both finite.
    """
    if not 0 < ridge < float("inf"):
        raise InputError(f"ridge is {ridge}: expected a finite number above 0; small protects less.")
    if not 0 <= keep < float("inf"):
        raise InputError(f"keep is {keep}: expected a finite number of 0 or more.")
    second = retained.second if guard is None else retained.second + guard.outer
    unit = float(retained.second.diagonal().mean()) or 1.0
    normal = inputs.second + keep * second + ridge * unit * torch.eye(inputs.width, dtype=torch.float64)
    wished = steps.double() / inputs.count
    if slope is not None:
        wished = wished - keep * slope
    edit: Tensor = torch.linalg.solve(normal, wished.T).T
    return edit
