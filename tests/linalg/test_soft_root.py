"""The soft root, which shrinks what is retained instead of leaving it alone, whole and of low rank."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from theorems import counts, low_rank, norm, normal, retained, seeds, spectrum, theorem, widths

from unsee.errors import InputError
from unsee.linalg.gram import Gram, gram_of
from unsee.linalg.subspace import energy, null_projector, soft_root, soft_root_low_rank


@theorem
@given(seeds, counts, widths, st.floats(1e-6, 1e6))
def test_soft_root_is_the_inverse_root_of_the_second_moment_and_its_square_the_ridge_solution(
    seed: int, count: int, width: int, ridge: float
) -> None:
    gram = gram_of(retained(seed, count, width))
    root, second = soft_root(gram, ridge).numpy(), gram.second.numpy()
    scale = np.trace(second) / width
    values = np.linalg.eigvalsh(second).clip(0)[::-1]
    assert root.dtype == np.float64
    assert (root == root.T).all()
    np.testing.assert_allclose(np.linalg.eigvalsh(root), (values / scale + ridge) ** -0.5, rtol=1e-8)
    np.testing.assert_allclose(root @ second, second @ root, atol=1e-10 * np.abs(root).max() * scale)
    shrunk = ridge * root @ root @ (second + ridge * scale * np.eye(width)) / (ridge * scale)
    np.testing.assert_allclose(shrunk, np.eye(width), atol=1e-8)


@theorem
@given(seeds, counts, widths)
def test_soft_root_runs_from_the_null_projector_to_the_identity(seed: int, count: int, width: int) -> None:
    """Both up to its norm outside the range, ridge^-1/2."""
    gram = gram_of(retained(seed, count, width))
    hard = null_projector(energy(gram, 1.0))
    assert norm(1e6 * soft_root(gram, 1e12) - torch.eye(width)) < 1e-10
    smallest = spectrum(gram.second)[min(count, width) - 1]
    ridge = 1e-9 * smallest / spectrum(gram.second).mean()
    assert norm(ridge**0.5 * soft_root(gram, ridge) - hard) < 1e-3


@theorem
@given(seeds, counts, widths, st.integers(1, 5), st.floats(1e-6, 1e3))
def test_retained_energy_of_an_update_is_bounded_by_the_free_matrix_alone(
    seed: int, count: int, width: int, rows: int, ridge: float
) -> None:
    """tr(A S G S A^T) / count <= t |A|^2 for any A: the mean of |A S h|^2, each direction giving s / (s/t + ridge).

    The bound is approached in the strongest direction, up to 1 / (1 + ridge), and by no A passed.
    """
    h = retained(seed, count, width)
    gram, free = gram_of(h), normal(seed + 3, rows, width)
    span, scale = soft_root(gram, ridge), float(gram.second.trace()) / width
    drift = float((free @ span @ gram.outer @ span @ free.T).trace()) / gram.count
    direct = np.square(h.numpy() @ span.numpy() @ free.numpy().T).sum(1).mean()
    np.testing.assert_allclose(drift, direct, rtol=1e-8)
    assert drift <= scale * float(free.square().sum()) * (1 + 1e-10)
    top = float(spectrum(span @ gram.second @ span)[0])
    strongest = spectrum(gram.second)[0]
    np.testing.assert_allclose(top, strongest / (strongest / scale + ridge), rtol=1e-8)
    assert scale / (1 + ridge) * (1 - 1e-8) <= top <= scale * (1 + 1e-10)


def test_soft_root_of_nothing_is_the_identity() -> None:
    for gram in (Gram.empty(3), gram_of(torch.zeros(2, 3))):
        assert torch.equal(soft_root(gram, 0.1), torch.eye(3, dtype=torch.float64))


@theorem
@given(seeds, counts, counts, st.integers(2, 9))
def test_a_soft_root_after_subtraction_is_finite(seed: int, count: int, other: int, width: int) -> None:
    """Eigenvalues slightly below zero, from rounding, count as zero."""
    here, away = gram_of(retained(seed, count, width)), gram_of(retained(seed + 5, other, width))
    root = soft_root((here + away) - away, 1e-12)
    assert torch.isfinite(root).all()
    assert spectrum(root)[0] <= 1e6 * (1 + 1e-8)


@pytest.mark.parametrize("ridge", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ridge_out_of_range_is_refused(ridge: float) -> None:
    with pytest.raises(InputError, match=f"ridge is {ridge}: expected a finite number above 0"):
        soft_root(Gram.empty(3), ridge)


@theorem
@given(seeds, st.integers(1, 5), widths, st.data())
def test_a_low_rank_matrix_multiplies_as_the_one_written_out(
    seed: int, rows: int, width: int, data: st.DataObject
) -> None:
    span, dense = low_rank(seed, width, data.draw(st.integers(1, width)))
    matrix = normal(seed + 3, rows, width)
    assert span.shape == dense.shape
    assert norm(matrix @ span - matrix @ dense) < 1e-12 * (1 + norm(matrix) * norm(dense))
    half = span.to(torch.device("cpu"), torch.float32)
    assert (matrix.float() @ half).dtype == torch.float32
    assert norm((matrix.float() @ half).double() - matrix @ dense) < 1e-5 * (1 + norm(matrix) * norm(dense))


def spiked(seed: int, width: int, strong: int, rest: float) -> Gram:
    """`strong` directions of unequal strength above 1, and every other of the strength `rest`."""
    frame = torch.linalg.qr(normal(seed, width, width)).Q
    values = torch.full((width,), rest, dtype=torch.float64)
    values[:strong] = torch.linspace(1, 20, strong, dtype=torch.float64)
    second = (frame * values) @ frame.T
    return Gram(7 * (second + second.T) / 2, normal(seed + 1, width), 7.0)


@pytest.mark.parametrize("rest", [0.0, 1e-3, 1e-2])
@pytest.mark.parametrize("ridge", [1e-3, 1e-2, 1.0])
@pytest.mark.parametrize("strong", [3, 12])
def test_a_soft_root_of_low_rank_is_the_soft_root_where_its_rank_covers_what_is_strong(
    strong: int, ridge: float, rest: float
) -> None:
    gram = spiked(strong, 80, strong, rest)
    span, exact = soft_root_low_rank(gram, ridge, 12), soft_root(gram, ridge)
    dense = (torch.eye(80) @ span).double()
    assert span.basis.shape == (80, 12)
    assert norm(dense - exact) <= 1e-3 * norm(exact)
    assert norm(dense - dense.T) <= 1e-6 * norm(dense)
    assert spectrum((dense + dense.T) / 2)[-1] > 0
    assert torch.equal(torch.eye(80) @ soft_root_low_rank(gram, ridge, 12), torch.eye(80) @ span)  # a fixed start


@pytest.mark.parametrize("ridge", [1e-3, 1e-2, 1.0])
def test_a_soft_root_of_low_rank_keeps_the_retained_energy_bounded(ridge: float) -> None:
    """tr(S G S) / count <= t d as of the exact root, where strengths decay and the rank covers but a part of them.

    In one direction beyond the rank, of strength s, it is s / (r / t + ridge), with r the mean of all beyond: more than
    the exact root's t at most, by up to s / r.
    """
    width, covered = 80, 30
    values = torch.exp2(-torch.arange(width, dtype=torch.float64) / 4)
    frame = torch.linalg.qr(normal(0, width, width)).Q
    second = (frame * values) @ frame.T
    gram = Gram((second + second.T) / 2, torch.zeros(width, dtype=torch.float64), 1.0)
    dense = (torch.eye(width) @ soft_root_low_rank(gram, ridge, covered)).double()
    scale, beyond = float(values.mean()), values[covered:]
    moved = spectrum(dense @ gram.second @ dense.T)
    assert moved.sum() <= scale * width * (1 + 1e-3)
    assert moved[0] <= max(scale, float(beyond[0] / (beyond.mean() / scale + ridge))) * 1.05


def test_a_soft_root_of_low_rank_of_nothing_is_the_identity() -> None:
    span = soft_root_low_rank(Gram.empty(40), 0.1, 4)
    assert torch.equal(torch.eye(40) @ span, torch.eye(40))


@pytest.mark.parametrize("ridge", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ridge_out_of_range_is_refused_at_low_rank_too(ridge: float) -> None:
    with pytest.raises(InputError, match=f"ridge is {ridge}: expected a finite number above 0"):
        soft_root_low_rank(Gram.empty(40), ridge, 4)
