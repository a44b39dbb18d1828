"""Muon: directions whose singular values are alike, whatever those of the gradient were."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import Parameter

from unsee.forgetting.optimizers import Muon, orthogonal

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def drawn(shape: tuple[int, int], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(SHAPES, st.integers(0, 10**6), st.floats(-8, 8))
def test_what_is_orthogonal_has_the_same_singular_vectors_and_values_near_one(
    shape: tuple[int, int], seed: int, size: float
) -> None:
    """Those from a hundredth of the matrix's norm on; the rest moves towards 1, and the sign of none changes."""
    matrix = 10**size * drawn(shape, seed)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = left.T @ orthogonal(matrix) @ right.T
    assert (found - torch.diag(found.diag())).abs().max() < 1e-8
    share = values / values.norm()
    assert ((found.diag() > 0.6) & (found.diag() < 1.3))[share > 0.01].all()
    assert (found.diag() >= 0).all()


def test_nothing_stays_nothing() -> None:
    assert torch.equal(orthogonal(torch.zeros(3, 2)), torch.zeros(3, 2))


@given(SHAPES, st.integers(0, 10**6), st.floats(1e-6, 1e6))
def test_a_step_does_not_depend_on_the_scale_of_the_gradients(shape: tuple[int, int], seed: int, scale: float) -> None:
    paths = []
    for factor in (1.0, scale):
        weight = Parameter(torch.zeros(shape, dtype=torch.float64))
        optimizer = Muon([weight])
        for number in range(3):
            weight.grad = factor * drawn(shape, seed + number)
            optimizer.step()
        paths.append(weight.detach())
    assert torch.allclose(*paths, rtol=1e-6, atol=1e-9)


def test_the_first_step_goes_down_the_gradient_and_later_ones_remember_it() -> None:
    weight = Parameter(torch.zeros(2, 2, dtype=torch.float64))
    optimizer = Muon([weight])
    weight.grad = torch.tensor([[1.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    optimizer.step()
    assert weight[0, 0].item() == pytest.approx(-0.7, abs=0.3)
    assert weight.flatten()[1:].tolist() == [0.0, 0.0, 0.0]
    weight.grad = torch.tensor([[0.0, 0.0], [0.0, 1e-9]], dtype=torch.float64)
    before = weight[0, 0].item()
    optimizer.step()
    assert weight[0, 0].item() < before
