"""A weight that moves within a span: its steps, its gradients, and its start."""

import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from theorems import counts, low_rank, norm, normal, retained, seeds, theorem, widths
from torch import Tensor

from unsee.forgetting.confined import ConfinedWeight
from unsee.linalg.gram import gram_of
from unsee.linalg.subspace import energy, null_projector, soft_root

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
@given(seeds, st.integers(1, 5), st.integers(2, 9))
def test_a_weight_in_a_low_rank_span_takes_the_steps_of_the_one_written_out(seed: int, rows: int, width: int) -> None:
    span, dense = low_rank(seed, width, width // 2)
    paths = []
    for kind in (span, dense):
        weight, task = fit(seed, rows, width)
        paths.append(confined_path(ConfinedWeight(weight, kind), task, sgd))
    for one, other in zip(*paths, strict=True):
        assert norm(one - other) < 1e-8 * (1 + norm(other))


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
