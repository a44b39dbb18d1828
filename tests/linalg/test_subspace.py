"""What the null space promises: a step inside it leaves every retained output as it was, and nothing else does."""

import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unsee.errors import InputError
from unsee.forgetting.confined import ConfinedWeight
from unsee.linalg.gram import Gram, gram_of
from unsee.linalg.subspace import (
    CRITERIA,
    LowRank,
    centred,
    energy,
    kaiser,
    null_projector,
    rank,
    retained_basis,
    retained_drift,
    soft_root,
    soft_root_low_rank,
)

theorem = settings(deadline=None, derandomize=True, max_examples=50)
seeds, widths, counts = st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 30)
keeps = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0])
criteria = st.sampled_from(sorted(CRITERIA))


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def retained(seed: int, count: int, width: int, rank: int | None = None) -> Tensor:
    """Vectors (count, width) with a mean and directions of unequal strength, inside `rank` dimensions."""
    inner = min(width, rank or width)
    strengths = torch.exp2(-torch.arange(inner, dtype=torch.float64))
    frame: Tensor = torch.linalg.qr(normal(seed + 1, width, inner)).Q
    return (normal(seed, count, inner) + 1) * strengths @ frame.T


def norm(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix)) if matrix.numel() else 0.0


def spectrum(matrix: Tensor) -> np.ndarray:
    """NumPy's eigenvalues, largest first."""
    return np.linalg.eigvalsh(matrix.numpy())[::-1]


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


Task = Callable[[Tensor], Tensor]
Optimizer = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]


def fit(seed: int, rows: int, width: int) -> tuple[torch.nn.Parameter, Task]:
    """A weight, and a least-squares loss of it that pulls on every direction of its input."""
    inputs, goals = normal(seed + 1, width, 20), normal(seed + 2, rows, 20)
    return torch.nn.Parameter(normal(seed, rows, width)), lambda weight: (weight @ inputs - goals).square().sum()


def adamw(parameters: list[torch.nn.Parameter], decay: float = 0.1) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=0.05, weight_decay=decay)


def sgd(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=1e-3)


def plain_path(
    weight: torch.nn.Parameter, task: Task, make: Optimizer = adamw, projector: Tensor | None = None
) -> list[Tensor]:
    """The weight before and after each of 8 steps on itself, its gradient projected where a projector is given."""
    optimizer = make([weight])
    path = [weight.detach().clone()]
    for _ in range(8):
        (gradient,) = torch.autograd.grad(task(weight), [weight])
        weight.grad = gradient if projector is None else gradient @ projector
        optimizer.step()
        path.append(weight.detach().clone())
    return path


def confined_path(confined: ConfinedWeight, task: Task, make: Optimizer = adamw) -> list[Tensor]:
    """The weight before and after each of 8 steps of an optimizer that moves A, and decays it where it decays."""
    optimizer = make([confined.free])
    group = optimizer.param_groups[0]
    path = [confined.weight.detach().clone()]
    for _ in range(8):
        torch.autograd.backward(task(confined.weight))
        confined.pull()
        optimizer.step()
        confined.push(group["lr"] * group["weight_decay"])
        path.append(confined.weight.detach().clone())
    return path


def leaks(path: list[Tensor], basis: Tensor) -> list[float]:
    """|dW U| / |dW| after each step, dW from the start."""
    return [norm((weight - path[0]) @ basis) / norm(weight - path[0]) for weight in path[1:]]


@theorem
@given(seeds, st.integers(2, 6), st.integers(2, 9), st.data())
def test_only_the_confined_weight_stays_in_the_null_space(
    seed: int, rows: int, width: int, data: st.DataObject
) -> None:
    basis = energy(gram_of(retained(seed, data.draw(st.integers(1, width - 1)), width)), 1.0)
    p = null_projector(basis)
    weight, task = fit(seed, rows, width)
    path = confined_path(ConfinedWeight(weight, p), task)
    assert norm(path[-1] - path[0]) > 1e-3
    assert max(leaks(path, basis)) < 1e-10
    assert max(norm((b - a) @ basis) / norm(b - a) for a, b in pairwise(path)) < 1e-10

    def without_decay(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return adamw(parameters, decay=0.0)

    assert min(leaks(plain_path(*fit(seed, rows, width)), basis)) > 1e-3
    assert max(leaks(plain_path(*fit(seed, rows, width), projector=p), basis)) > 1e-3
    assert max(leaks(plain_path(*fit(seed, rows, width), without_decay, projector=p), basis)) > 1e-4


@theorem
@given(seeds, st.integers(1, 5), widths, counts, st.floats(1e-4, 1e2))
def test_pulling_is_the_gradient_of_the_free_matrix(seed: int, rows: int, width: int, count: int, ridge: float) -> None:
    span = soft_root(gram_of(retained(seed, count, width)), ridge)
    weight, task = fit(seed, rows, width)
    confined = ConfinedWeight(weight, span)
    free = normal(seed + 6, rows, width).requires_grad_()
    confined.free.data = free.detach().clone()
    confined.push()
    (expected,) = torch.autograd.grad(task(confined.start + free @ span), [free])
    torch.autograd.backward(task(weight))
    confined.pull()
    assert confined.free.grad is not None
    assert not confined.free.any()
    assert weight.grad is None
    assert norm(confined.free.grad - expected) <= 1e-10 * norm(expected)


@theorem
@given(seeds, st.integers(1, 5), widths)
def test_without_a_span_the_steps_are_plain_ones(seed: int, rows: int, width: int) -> None:
    """Of gradient descent, and of AdamW whose decay pulls W back to its start: both on A = W - W0."""
    weight, task = fit(seed, rows, width)
    start = weight.detach().clone()
    free = ConfinedWeight(weight, None)
    a = torch.nn.Parameter(torch.zeros_like(start))
    expected = plain_path(a, lambda moved: task(start + moved))
    for moved, reference in zip(confined_path(free, task), expected, strict=True):
        assert norm(moved - start - reference) < 1e-12 * (1 + norm(start))
    descent = confined_path(ConfinedWeight(fit(seed, rows, width)[0], None), task, sgd)
    for moved, reference in zip(descent, plain_path(*fit(seed, rows, width), sgd), strict=True):
        assert norm(moved - reference) < 1e-12 * (1 + norm(start))


@theorem
@given(seeds, st.integers(1, 5), widths)
def test_a_span_of_zero_freezes_the_weight(seed: int, rows: int, width: int) -> None:
    weight, task = fit(seed, rows, width)
    path = confined_path(ConfinedWeight(weight, torch.zeros(width, width)), task)
    assert all(torch.equal(moved, path[0]) for moved in path)


@theorem
@given(seeds, counts, widths, st.floats(1e-4, 1e2))
def test_descent_within_a_soft_root_goes_along_fisher_s_direction(
    seed: int, count: int, width: int, ridge: float
) -> None:
    """One gradient step away from the output of a vector x moves W along (S + r I)^-1 x, against NumPy's solution."""
    gram, x = gram_of(retained(seed, count, width)), normal(seed + 7, width)
    weight, _ = fit(seed, 1, width)
    confined = ConfinedWeight(weight, soft_root(gram, ridge))
    torch.autograd.backward((weight @ x).sum())
    confined.pull()
    sgd([confined.free]).step()
    confined.push()
    second = gram.second.numpy()
    direction = np.linalg.solve(second + ridge * np.trace(second) / width * np.eye(width), x.numpy())
    moved = (confined.start - weight.detach())[0].numpy()
    cosine = moved @ direction / np.linalg.norm(moved) / np.linalg.norm(direction)
    assert cosine > 1 - 1e-9


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 2e-2)]
)
def test_the_weight_is_set_in_place_in_its_own_dtype(dtype: torch.dtype, tolerance: float) -> None:
    basis = energy(gram_of(retained(0, 4, 9)), 1.0)
    weight = torch.nn.Parameter(normal(1, 3, 9).to(dtype))
    before, place, projector = weight.detach().clone(), weight.data_ptr(), null_projector(basis)
    confined = ConfinedWeight(weight, projector)
    confined.free.data = normal(2, 3, 9).to(dtype)
    confined.push()
    assert not confined.free.numel()
    assert weight.dtype == confined.free.dtype == dtype
    assert confined.weight is weight
    assert weight.data_ptr() == place
    assert weight.is_leaf
    assert projector.dtype == torch.float64
    assert torch.equal(confined.start, before)
    after = weight.detach().double()
    assert norm(after - before) > 0.1
    assert norm((after - before) @ basis) < tolerance * norm(after)


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3,), (1, 3, 3)])
def test_a_span_that_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    weight = torch.nn.Parameter(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=re.escape(f"expected a span of (3, 3) for the weight, got {shape}")):
        ConfinedWeight(weight, torch.zeros(shape))


def test_pulling_without_a_gradient_is_refused() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 3))
    confined = ConfinedWeight(weight, torch.eye(3))
    for _ in range(2):
        with pytest.raises(ValueError, match="the weight has no gradient; call backward first"):
            confined.pull()
        torch.autograd.backward(weight.sum())
        confined.pull()


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


@pytest.mark.parametrize("keep", [-0.1, 1.01, float("nan")])
@pytest.mark.parametrize("criterion", sorted(CRITERIA))
def test_keep_out_of_range_is_refused(criterion: str, keep: float) -> None:
    with pytest.raises(ValueError, match=rf"keep is {keep}: expected a share from 0 \(.*\) to 1 \("):
        retained_basis(gram_of(retained(0, 5, 3)), criterion, keep)


def test_an_unknown_criterion_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match="unknown criterion 'centered': did you mean 'centred'"):
        retained_basis(Gram.empty(3), "centered", 0.9)


def low_rank(seed: int, width: int, count: int) -> tuple[LowRank, Tensor]:
    """A random matrix of that form, and the same one written out."""
    basis, gain = torch.linalg.qr(normal(seed, width, count)).Q, normal(seed + 1, count)
    span = LowRank(float(normal(seed + 2, 1)), basis, gain)
    return span, span.scale * torch.eye(width, dtype=torch.float64) + (basis * gain) @ basis.T


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


@theorem
@given(seeds, st.integers(1, 5), st.integers(2, 9))
def test_a_weight_in_a_low_rank_span_takes_the_steps_of_the_one_written_out(seed: int, rows: int, width: int) -> None:
    span, dense = low_rank(seed, width, width // 2)
    paths = []
    for kind in (span, dense):
        weight, task = fit(seed, rows, width)
        paths.append(confined_path(ConfinedWeight(weight, kind), task, sgd))
    for one, other in zip(*paths, strict=True):
        assert norm(one - other) < 1e-8 * (1 + norm(other))


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


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_a_start_kept_as_it_is_stored_makes_the_same_steps_to_the_bit(stored: torch.dtype) -> None:
    _, task = fit(3, 4, 9)
    start, span = normal(3, 4, 9).to(stored).float(), soft_root(gram_of(retained(0, 5, 9)), 0.1)
    paths = []
    for kept in (None, stored):
        confined = ConfinedWeight(torch.nn.Parameter(start.clone()), span, kept)
        assert confined.start.dtype == (kept or torch.float32)
        paths.append(confined_path(confined, lambda weight: task(weight.double())))
        confined.restore()
        assert torch.equal(confined.weight, start)
    assert all(torch.equal(one, other) for one, other in zip(*paths, strict=True))
    assert not torch.equal(paths[0][0], paths[0][-1])


@pytest.mark.parametrize("value", [1 / 3, 1e30])
def test_a_start_that_its_stored_dtype_does_not_hold_is_kept_whole(value: float) -> None:
    confined = ConfinedWeight(torch.nn.Parameter(torch.full((2, 3), value)), None, torch.float16)
    assert confined.start.dtype == torch.float32
    confined.restore()
    assert torch.equal(confined.weight, torch.full((2, 3), value))
