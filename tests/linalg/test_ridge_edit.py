"""The ridge edit against NumPy's least squares and its limits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unsee.errors import InputError
from unsee.linalg.gram import Gram, gram_of
from unsee.linalg.ridge_edit import ridge_edit

theorem = settings(deadline=None, derandomize=True, max_examples=50)
seeds, sizes = st.integers(0, 10**6), st.integers(1, 6)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@theorem
@given(seeds, sizes, sizes, sizes, st.integers(1, 12), st.floats(0, 100), st.floats(1e-3, 10))
def test_it_is_the_least_squares_solution(
    seed: int, rows: int, width: int, shown: int, kept: int, keep: float, ridge: float
) -> None:
    """Of one stacked system: target vectors with their steps, retained vectors and the change itself with zero."""
    h, s, r, g = (
        normal(seed, shown, width),
        normal(seed + 1, shown, rows),
        normal(seed + 2, kept, width),
        gram_of(normal(seed + 3, 1, width)),
    )
    retained = gram_of(r)
    unit = float(retained.second.trace()) / width
    left = np.concatenate(
        [
            h.numpy() / shown**0.5,
            (keep / kept) ** 0.5 * r.numpy(),
            keep**0.5 * normal(seed + 3, 1, width).numpy(),
            (ridge * unit) ** 0.5 * np.eye(width),
        ]
    )
    right = np.concatenate([s.numpy() / shown**0.5, np.zeros((len(left) - shown, rows))])
    expected = np.linalg.lstsq(left, right, rcond=None)[0].T
    found = ridge_edit(s.T @ h, gram_of(h), retained, keep, ridge, g)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6 * max(1, np.abs(expected).max()))


@theorem
@given(seeds, sizes, sizes, st.floats(0.1, 100))
def test_what_moved_before_for_the_guards_vectors_is_taken_back(seed: int, rows: int, width: int, keep: float) -> None:
    """The guard's vectors then have the step that undoes it, in the same least squares."""
    h, s, g, moved = (
        normal(seed + n, count, size) for n, (count, size) in enumerate([(5, width), (5, rows), (2, width), (2, rows)])
    )
    retained = gram_of(normal(seed + 4, 3, width))
    unit = float(retained.second.trace()) / width
    left = np.concatenate(
        [
            h.numpy() / 5**0.5,
            keep**0.5 * g.numpy(),
            (keep / 3) ** 0.5 * normal(seed + 4, 3, width).numpy(),
            (0.1 * unit) ** 0.5 * np.eye(width),
        ]
    )
    right = np.concatenate([s.numpy() / 5**0.5, -(keep**0.5) * moved.numpy(), np.zeros((3 + width, rows))])
    expected = np.linalg.lstsq(left, right, rcond=None)[0].T
    found = ridge_edit(s.T @ h, gram_of(h), retained, keep, 0.1, gram_of(g), moved.T @ g)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6 * max(1, np.abs(expected).max()))


def test_without_a_retained_vector_it_is_plain_ridge() -> None:
    h, s = normal(0, 4, 3), normal(1, 4, 2)
    found = ridge_edit(s.T @ h, gram_of(h), Gram.empty(3), 5.0, 0.5)
    expected = torch.linalg.solve(h.T @ h / 4 + 0.5 * torch.eye(3, dtype=torch.float64), h.T @ s / 4).T
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("keep", "ridge"), [(-1.0, 1.0), (1.0, 0.0), (float("nan"), 1.0), (1.0, float("inf"))])
def test_weights_out_of_range_are_refused(keep: float, ridge: float) -> None:
    with pytest.raises(InputError, match="expected a finite number"):
        ridge_edit(torch.zeros(1, 2), Gram.empty(2), Gram.empty(2), keep, ridge)
