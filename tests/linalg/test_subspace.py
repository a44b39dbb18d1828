"""What the null space promises: a step inside it leaves every retained output as it was, and nothing else does."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from theorems import counts, criteria, keeps, norm, normal, retained, seeds, spectrum, theorem, widths

from unsee.errors import InputError
from unsee.linalg.gram import Gram, gram_of
from unsee.linalg.subspace import (
    CRITERIA,
    centred,
    energy,
    kaiser,
    null_projector,
    rank,
    retained_basis,
    retained_drift,
)


@theorem
@given(seeds, counts, widths, criteria, keeps)
def test_basis_is_orthonormal_and_no_wider_than_the_data(
    seed: int, count: int, width: int, criterion: str, keep: float
) -> None:
    basis = retained_basis(gram_of(retained(seed, count, width)), criterion, keep)
    assert basis.dtype == torch.float64
    assert basis.shape[0] == width
    assert basis.shape[1] <= min(width, count)
    assert norm(basis.T @ basis - torch.eye(basis.shape[1])) < 1e-12


@theorem
@given(seeds, counts, widths, criteria, keeps)
def test_projector_is_the_orthogonal_one_of_rank_d_minus_k(
    seed: int, count: int, width: int, criterion: str, keep: float
) -> None:
    basis = retained_basis(gram_of(retained(seed, count, width)), criterion, keep)
    p = null_projector(basis)
    assert torch.equal(p, p.T)
    assert norm(p @ p - p) < 1e-12
    assert norm(p @ basis) < 1e-12
    assert np.linalg.matrix_rank(p.numpy(), tol=1e-8) == width - basis.shape[1]
    assert abs(float(p.trace()) - (width - basis.shape[1])) < 1e-12


@theorem
@given(seeds, counts, widths, criteria, keeps, keeps)
def test_more_keep_protects_a_larger_nested_space(
    seed: int, count: int, width: int, criterion: str, one: float, two: float
) -> None:
    gram = gram_of(retained(seed, count, width))
    small, large = (retained_basis(gram, criterion, keep) for keep in sorted([one, two]))
    assert small.shape[1] <= large.shape[1]
    assert norm(small - large[:, : small.shape[1]]) < 1e-12


@theorem
@given(seeds, counts, widths, keeps)
def test_energy_is_held_and_one_direction_less_would_not_hold_it(
    seed: int, count: int, width: int, keep: float
) -> None:
    gram = gram_of(retained(seed, count, width))
    basis, values = energy(gram, keep), spectrum(gram.second)
    k, trace = basis.shape[1], values.sum()
    assert float((basis.T @ gram.second @ basis).trace()) >= (keep - 1e-10) * trace
    assert k == 0 or values[: k - 1].sum() < (keep + 1e-10) * trace
    assert np.allclose(np.diag(basis.T @ gram.second @ basis), values[:k], atol=1e-12)


@theorem
@given(seeds, st.integers(2, 30), st.integers(2, 9), keeps)
def test_centred_protects_the_mean_and_holds_the_covariance_beside_it(
    seed: int, count: int, width: int, keep: float
) -> None:
    gram = gram_of(retained(seed, count, width))
    basis = centred(gram, keep)
    assert norm(null_projector(basis) @ gram.mean[:, None]) < 1e-12 * float(gram.mean.norm())
    mean = gram.mean.numpy() / np.linalg.norm(gram.mean.numpy())
    away = np.eye(width) - np.outer(mean, mean)
    beside = away @ gram.covariance.numpy() @ away
    values, rest = np.linalg.eigvalsh(beside)[::-1], basis[:, 1:].numpy()
    held, k = np.trace(rest.T @ beside @ rest), rest.shape[1]
    assert held >= (keep - 1e-10) * values.sum()
    assert k == 0 or values[: k - 1].sum() < (keep + 1e-10) * values.sum()


@theorem
@given(seeds, st.integers(1, 30), st.integers(1, 9))
def test_centred_at_zero_protects_the_mean_and_nothing_else(seed: int, count: int, width: int) -> None:
    gram = gram_of(retained(seed, count, width))
    basis = centred(gram, 0.0)
    assert basis.shape == (width, 1)
    assert abs(abs(float(basis[:, 0] @ gram.mean)) - float(gram.mean.norm())) < 1e-12


@theorem
@given(seeds, st.integers(1, 15), widths, keeps)
def test_centred_without_a_mean_is_energy(seed: int, count: int, width: int, keep: float) -> None:
    h = retained(seed, count, width)
    gram = gram_of(torch.cat([h, -h]))
    assert torch.equal(centred(gram, keep), energy(gram, keep))


@theorem
@given(seeds, st.integers(2, 9))
def test_a_mean_far_above_the_spread_hides_it_from_energy_and_not_from_centred(seed: int, width: int) -> None:
    gram = gram_of(normal(seed, 100, width) + 1000 * torch.ones(width, dtype=torch.float64))
    assert energy(gram, 0.99).shape[1] == 1
    assert centred(gram, 1.0).shape[1] == width


@theorem
@given(seeds, counts, widths, keeps)
def test_rank_is_the_share_of_the_width_within_the_range(seed: int, count: int, width: int, keep: float) -> None:
    gram = gram_of(retained(seed, count, width))
    basis, values = rank(gram, keep), spectrum(gram.second)
    assert basis.shape[1] == min(round(keep * width), count, width)
    assert np.allclose(np.diag(basis.T @ gram.second @ basis), values[: basis.shape[1]], atol=1e-12)


@theorem
@given(seeds, counts, widths, st.floats(0.01, 0.99))
def test_kaiser_parts_the_spectrum_at_a_share_of_its_mean(seed: int, count: int, width: int, keep: float) -> None:
    gram = gram_of(retained(seed, count, width))
    k, values = kaiser(gram, keep).shape[1], spectrum(gram.second)
    bound = (1 - keep) * values.mean()
    assert (values[:k] > bound * (1 - 1e-10)).all()
    assert (values[k:] <= bound * (1 + 1e-10)).all()


@theorem
@given(seeds, st.integers(1, 9), criteria)
def test_full_rank_and_keep_one_leaves_no_freedom(seed: int, width: int, criterion: str) -> None:
    basis = retained_basis(gram_of(retained(seed, 40, width)), criterion, 1.0)
    assert basis.shape == (width, width)
    assert norm(null_projector(basis)) < 1e-12


@theorem
@given(seeds, counts, st.integers(2, 9), st.data(), criteria)
def test_rank_deficient_and_keep_one_changes_no_retained_output(
    seed: int, count: int, width: int, data: st.DataObject, criterion: str
) -> None:
    h = retained(seed, count, width, rank=data.draw(st.integers(1, width - 1)))
    basis = retained_basis(gram_of(h), criterion, 1.0)
    assert basis.shape[1] == np.linalg.matrix_rank(h.numpy())
    delta = normal(seed + 2, 4, width) @ null_projector(basis)
    assert norm(delta) > 1e-3
    assert norm(h @ delta.T) <= 1e-9 * norm(delta) * norm(h)


@theorem
@given(widths, criteria, keeps, st.integers(0, 3))
def test_nothing_and_zero_vectors_protect_nothing(width: int, criterion: str, keep: float, count: int) -> None:
    for gram in (Gram.empty(width), gram_of(torch.zeros(count, width))):
        basis = retained_basis(gram, criterion, keep)
        assert basis.shape == (width, 0)
        assert torch.equal(null_projector(basis), torch.eye(width, dtype=torch.float64))


@theorem
@given(seeds, st.integers(1, 9), st.sampled_from(sorted(CRITERIA)))
def test_one_vector_is_one_direction(seed: int, width: int, criterion: str) -> None:
    h = normal(seed, 1, width) + 1
    basis = retained_basis(gram_of(h), criterion, 1.0)
    assert basis.shape == (width, 1)
    assert norm(h @ null_projector(basis)) < 1e-12 * norm(h)


@theorem
@given(seeds, counts, widths)
def test_keep_zero_protects_nothing_but_the_mean(seed: int, count: int, width: int) -> None:
    gram = gram_of(retained(seed, count, width))
    sizes = {name: criterion(gram, 0.0).shape[1] for name, criterion in CRITERIA.items()}
    assert sizes == {"energy": 0, "centred": 1, "rank": 0, "kaiser": 0}


@theorem
@given(seeds, counts, counts, st.integers(2, 9), criteria)
def test_a_subset_taken_out_again_is_not_protected(
    seed: int, count: int, other: int, width: int, criterion: str
) -> None:
    """Subtraction leaves eigenvalues of rounding size, negative ones too: none of them may become a direction."""
    here, away = retained(seed, count, width), 0.5 * retained(seed + 5, other, width)
    left = (gram_of(here) + gram_of(away)) - gram_of(away)
    strong = retained_basis(left, "energy", 0.9)
    assert strong.shape == retained_basis(gram_of(here), "energy", 0.9).shape
    assert norm(null_projector(strong) - null_projector(energy(gram_of(here), 0.9))) < 1e-6
    basis = retained_basis(left, criterion, 0.9)
    assert torch.isfinite(basis).all()
    assert norm(basis.T @ basis - torch.eye(basis.shape[1])) < 1e-12


@theorem
@given(seeds, counts, widths, st.integers(1, 5))
def test_drift_is_the_ratio_of_squared_outputs(seed: int, count: int, width: int, rows: int) -> None:
    h, weight, delta = retained(seed, count, width), normal(seed + 3, rows, width), normal(seed + 4, rows, width)
    direct = np.square(h.numpy() @ delta.numpy().T).sum() / np.square(h.numpy() @ weight.numpy().T).sum()
    np.testing.assert_allclose(retained_drift(delta, weight, gram_of(h)), direct, rtol=1e-9)
    np.testing.assert_allclose(retained_drift(weight, weight, gram_of(h)), 1.0, rtol=1e-12)
    np.testing.assert_allclose(retained_drift(3 * delta, weight, gram_of(h)), 9 * direct, rtol=1e-9)


@theorem
@given(seeds, st.integers(2, 9), st.floats(0, 1))
def test_drift_inside_the_null_space_is_bounded_by_the_energy_left_free(seed: int, width: int, keep: float) -> None:
    gram, weight = gram_of(retained(seed, 30, width)), normal(seed + 3, 4, width)
    delta = normal(seed + 4, 4, width) @ null_projector(energy(gram, keep))
    free = (1 - keep) * float(gram.outer.trace()) * float(delta.square().sum())
    denominator = float(((weight @ gram.outer) * weight).sum())
    assert retained_drift(delta, weight, gram) <= free / denominator + 1e-10


def test_drift_at_zero() -> None:
    gram, ones, zeros = gram_of(retained(0, 5, 3)), torch.ones(2, 3), torch.zeros(2, 3)
    assert retained_drift(zeros, ones, gram) == 0.0
    assert retained_drift(zeros, zeros, gram) == 0.0
    assert retained_drift(ones, zeros, gram) == float("inf")
    assert retained_drift(ones, ones, Gram.empty(3)) == 0.0


@pytest.mark.parametrize("keep", [-0.1, 1.01, float("nan")])
@pytest.mark.parametrize("criterion", sorted(CRITERIA))
def test_keep_out_of_range_is_refused(criterion: str, keep: float) -> None:
    with pytest.raises(ValueError, match=rf"keep is {keep}: expected a share from 0 \(.*\) to 1 \("):
        retained_basis(gram_of(retained(0, 5, 3)), criterion, keep)


def test_an_unknown_criterion_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="unknown criterion 'centered': did you mean 'centred'"):
        retained_basis(Gram.empty(3), "centered", 0.9)
