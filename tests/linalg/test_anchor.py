"""What a layer gave for vectors that are gone says exactly how far its outputs have moved since."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from theorems import normal, seeds, theorem
from torch import Tensor

from unsee.forgetting.losses import output_shift
from unsee.linalg.anchor import Anchor
from unsee.linalg.gram import Gram, gram_of

WIDTH, ROWS = 5, 3


def sets(seed: int, count: int) -> tuple[list[Tensor], list[Gram]]:
    """Weights, each drifting on from the last, and Grams of a few vectors each: fewer than the width."""
    weights = [normal(seed, ROWS, WIDTH)]
    for number in range(1, count):
        weights.append(weights[-1] + 0.1 * normal(seed + 7 * number, ROWS, WIDTH))
    return weights, [gram_of(normal(seed + 100 + number, 2, WIDTH)).weighted(0.5) for number in range(count)]


def summed(weights: list[Tensor], grams: list[Gram]) -> tuple[Anchor, Gram]:
    anchor, gram = Anchor.of(weights[0], grams[0]), grams[0]
    for weight, own in zip(weights[1:], grams[1:], strict=True):
        anchor, gram = anchor + Anchor.of(weight, own), gram + own
    return anchor, gram


@theorem
@given(seeds, st.integers(1, 6))
def test_the_shift_is_that_of_each_set_since_its_own_weight(seed: int, count: int) -> None:
    weights, grams = sets(seed, count)
    anchor, gram = summed(weights, grams)
    now = weights[-1] + normal(seed + 50, ROWS, WIDTH)
    expected = sum(
        torch.trace((now - weight) @ own.outer @ (now - weight).T) for weight, own in zip(weights, grams, strict=True)
    )
    torch.testing.assert_close(torch.tensor(anchor.shift(now, gram), dtype=torch.float64), expected)
    twice = anchor.weighted(2.0).shift(now, gram.weighted(2.0))
    torch.testing.assert_close(torch.tensor(twice, dtype=torch.float64), 2 * expected)


@theorem
@given(seeds)
def test_the_slope_is_half_the_gradient_of_the_shift(seed: int) -> None:
    weights, grams = sets(seed, 3)
    anchor, gram = summed(weights, grams)
    now = (weights[-1] + normal(seed + 50, ROWS, WIDTH)).requires_grad_(True)
    shift = sum(
        torch.trace((now - weight) @ own.outer @ (now - weight).T) for weight, own in zip(weights, grams, strict=True)
    )
    (gradient,) = torch.autograd.grad(shift, [now])
    torch.testing.assert_close(2 * anchor.slope(now, gram), gradient)


@theorem
@given(seeds)
def test_the_loss_of_a_change_with_its_slope_is_the_whole_shift(seed: int) -> None:
    weights, grams = sets(seed, 3)
    anchor, gram = summed(weights, grams)
    start, now = weights[-1], weights[-1] + normal(seed + 50, ROWS, WIDTH)
    loss = output_shift(now, start, gram.outer, 4.0, anchor.slope(start, gram), anchor.shift(start, gram))
    torch.testing.assert_close(4 * loss, torch.tensor(anchor.shift(now, gram), dtype=torch.float64))


def test_a_set_at_its_own_weight_has_not_moved_and_the_size_stays() -> None:
    weights, grams = sets(3, 6)
    anchor, gram = summed(weights, grams)
    assert Anchor.of(weights[0], grams[0]).shift(weights[0], grams[0]) < 1e-12
    assert anchor.outputs.shape == Anchor.of(weights[0], grams[0]).outputs.shape == (ROWS, WIDTH)
    assert gram.outer.shape == (WIDTH, WIDTH)
