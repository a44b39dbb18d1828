"""The moments against NumPy in float64, and what makes them usable: any order, any split, merged, taken out again."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unsee.linalg.gram import ROWS, WIDE, Gram, GramStream, gram_of

theorem = settings(deadline=None, derandomize=True, max_examples=50)
seeds, widths, counts = st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 40)


def sample(seed: int, count: int, width: int, offset: float = 1.0) -> Tensor:
    """Vectors (count, width) float64 with a mean that is not zero."""
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + offset


def close(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> bool:
    """Equal to `tolerance` relative to the largest number."""
    return bool((a - b).abs().max() <= tolerance * max(1.0, float(b.abs().max())))


def same(a: Gram, b: Gram, tolerance: float = 1e-10) -> bool:
    return close(a.outer, b.outer, tolerance) and close(a.total, b.total, tolerance) and abs(a.count - b.count) < 1e-9


@theorem
@given(seeds, counts, widths)
def test_moments_are_those_of_numpy(seed: int, count: int, width: int) -> None:
    h = sample(seed, count, width)
    gram, table = gram_of(h), h.numpy()
    assert gram.count == count
    assert gram.width == width
    np.testing.assert_allclose(gram.outer, np.einsum("ni,nj->ij", table, table), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gram.total, table.sum(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gram.mean, table.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gram.second, table.T @ table / count, rtol=1e-12, atol=1e-12)
    reference = np.cov(table.T, bias=True).reshape(width, width)
    np.testing.assert_allclose(gram.covariance, reference, rtol=1e-10, atol=1e-10)


@theorem
@given(seeds, counts, widths)
def test_all_second_moments_are_exactly_symmetric(seed: int, count: int, width: int) -> None:
    weight = sample(seed + 1, count, 1)[:, 0].abs()
    gram = gram_of(sample(seed, count, width), weight)
    for matrix in (gram.outer, gram.second, gram.covariance):
        assert torch.equal(matrix, matrix.T)


@theorem
@given(seeds, counts, widths, st.lists(st.integers(0, 40), max_size=4))
def test_order_and_batches_do_not_matter(seed: int, count: int, width: int, cuts: list[int]) -> None:
    h = sample(seed, count, width)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    stream = GramStream(width)
    for part in torch.tensor_split(h[order], sorted(min(cut, count) for cut in cuts)):
        stream.update(part)
    assert same(stream.gram, gram_of(h))


def test_a_batch_longer_than_one_cast_is_counted_whole() -> None:
    h = sample(0, 2 * ROWS + 3, 2)
    weight = torch.rand(len(h), generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(gram_of(h).outer, h.numpy().T @ h.numpy(), rtol=1e-12)
    expected = h.numpy().T @ (weight.double().numpy()[:, None] * h.numpy())
    np.testing.assert_allclose(gram_of(h, weight).outer, expected, rtol=1e-12)


@theorem
@given(seeds, counts, counts, widths)
def test_merging_the_parts_gives_the_whole_and_subtracting_one_the_other(seed: int, m: int, n: int, width: int) -> None:
    one, two = sample(seed, m, width), sample(seed + 1, n, width, offset=-3.0)
    whole = gram_of(one) + gram_of(two)
    assert same(whole, gram_of(torch.cat([one, two])))
    assert same(whole - gram_of(two), gram_of(one))
    assert not same(whole, gram_of(one))


@theorem
@given(seeds, counts, counts, widths)
def test_subtracting_is_as_if_never_added_with_weights_too(seed: int, m: int, n: int, width: int) -> None:
    one, two = sample(seed, m, width), sample(seed + 1, n, width)
    weights = sample(seed + 2, m + n, 1)[:, 0].abs()
    whole = gram_of(torch.cat([one, two]), weights)
    assert same(whole - gram_of(two, weights[m:]), gram_of(one, weights[:m]))


@theorem
@given(seeds, counts, widths)
def test_nothing_left_is_exactly_empty(seed: int, count: int, width: int) -> None:
    h, weight = sample(seed, count, width), sample(seed + 1, count, 1)[:, 0].abs()
    whole, parts = gram_of(h, weight), Gram.empty(width)
    for row, share in zip(h, weight, strict=True):
        parts = gram_of(row[None], share[None]) + parts
    left = whole - parts
    assert left.count == 0
    assert not left.outer.any()
    assert not left.total.any()


@theorem
@given(seeds, counts, widths)
def test_a_whole_weight_is_repetition_and_zero_is_absence(seed: int, count: int, width: int) -> None:
    h = sample(seed, count, width)
    times = torch.randint(0, 4, (count,), generator=torch.Generator().manual_seed(seed))
    weighted = gram_of(h, times.double())
    assert same(weighted, gram_of(h.repeat_interleave(times, dim=0)))
    assert weighted.count == int(times.sum())


@theorem
@given(seeds, counts, widths, st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
def test_narrow_inputs_are_summed_in_float64(seed: int, count: int, width: int, dtype: torch.dtype) -> None:
    h = sample(seed, count, width).to(dtype)
    table = h.double().numpy()
    np.testing.assert_allclose(gram_of(h).outer, table.T @ table, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(gram_of(h).total, table.sum(0), rtol=1e-13, atol=1e-13)


def test_a_sum_in_float32_would_have_been_wrong() -> None:
    h = sample(0, 3000, 4, offset=1000.0).float()
    exact = h.double().numpy().T @ h.double().numpy() / 3000 - np.outer(*[h.double().numpy().mean(0)] * 2)
    narrow = h.T @ h / 3000 - torch.outer(h.mean(0), h.mean(0))
    assert np.abs(gram_of(h).covariance.numpy() - exact).max() < 1e-7
    assert np.abs(narrow.numpy() - exact).max() > 1e-2


@theorem
@given(seeds, st.integers(1, 4), st.integers(1, 5), widths)
def test_leading_dimensions_are_only_more_vectors(seed: int, images: int, tokens: int, width: int) -> None:
    h, weight = sample(seed, images * tokens, width), sample(seed, images * tokens, 1)[:, 0].abs()
    shaped = gram_of(h.reshape(images, tokens, width), weight.reshape(images, tokens))
    assert same(shaped, gram_of(h, weight), 1e-14)
    assert same(gram_of(h[0]), gram_of(h[:1]), 1e-14)


def test_strided_vectors_that_require_grad_are_counted_and_not_tracked() -> None:
    h = sample(0, 6, 8).requires_grad_()
    gram = gram_of(h[::2, ::2])
    np.testing.assert_allclose(gram.outer, h.detach().numpy()[::2, ::2].T @ h.detach().numpy()[::2, ::2], rtol=1e-12)
    assert not gram.outer.requires_grad


def test_the_result_is_frozen_and_later_updates_leave_it() -> None:
    stream = GramStream(3)
    stream.update(sample(0, 5, 3))
    gram = stream.gram
    before = gram.outer.clone(), gram.total.clone()
    stream.update(sample(1, 5, 3))
    assert gram.count == 5
    assert torch.equal(gram.outer, before[0])
    assert torch.equal(gram.total, before[1])
    with pytest.raises(FrozenInstanceError):
        gram.count = 6.0  # type: ignore[misc]  # what is tested


def test_an_empty_gram_has_zero_moments_and_changes_nothing() -> None:
    empty, gram = Gram.empty(3), gram_of(sample(0, 5, 3))
    for moment in (empty.mean, empty.second, empty.covariance, gram_of(torch.zeros(0, 3)).outer):
        assert not moment.any()
    assert same(gram + empty, gram, 0.0)
    assert same(gram - empty, gram, 0.0)


def test_one_vector_has_no_covariance() -> None:
    h = sample(0, 1, 4)
    assert close(gram_of(h).second, h.T @ h, 0.0)
    assert not gram_of(h).covariance.any()


def test_grams_that_do_not_fit_are_refused() -> None:
    three, four = gram_of(sample(0, 5, 3)), gram_of(sample(0, 5, 4))
    with pytest.raises(ValueError, match="cannot add Grams of widths 3 and 4: they are of other layers"):
        three + four
    with pytest.raises(ValueError, match="cannot subtract Grams of widths 3 and 4"):
        three - four
    with pytest.raises(ValueError, match="a Gram of 5 vectors from one of 2: subtract only what was added"):
        gram_of(sample(0, 2, 3)) - three
    with pytest.raises(ValueError, match=r"outer \(d, d\) and total \(d,\), got \(3, 4\) and \(3,\)"):
        Gram(torch.zeros(3, 4).double(), torch.zeros(3).double(), 0.0)
    with pytest.raises(ValueError, match=r"needs float64, got torch.float32 and torch.float64: use .double\(\)"):
        Gram(torch.zeros(3, 3), torch.zeros(3).double(), 0.0)


@pytest.mark.parametrize(
    ("h", "weight", "text"),
    [
        (torch.zeros(2, 4), None, r"expected vectors of width 3, got a tensor of shape \(2, 4\)"),
        (torch.tensor(1.0), None, r"expected vectors of width 3, got a tensor of shape \(\)"),
        (torch.zeros(2, 3, dtype=torch.int64), None, "expected float vectors, got torch.int64"),
        (torch.zeros(2, 3), torch.zeros(3), r"expected one weight per vector, \(2,\), got \(3,\)"),
        (torch.zeros(2, 3), torch.tensor([1.0, -0.5]), "expected weights of 0 or more, got -0.5"),
        (torch.zeros(2, 3), torch.tensor([1.0, float("nan")]), r"weight\[1\] is nan, one of 1 numbers"),
        (torch.tensor([[0.0, 0, 0], [0, float("inf"), float("nan")]]), None, r"h\[1, 1\] is inf, one of 2 numbers"),
    ],
)
def test_a_bad_update_is_refused_and_counts_nothing(h: Tensor, weight: Tensor | None, text: str) -> None:
    stream = GramStream(3)
    with pytest.raises(ValueError, match=text):
        stream.update(h, weight)
    assert stream.gram.count == 0
    assert not stream.gram.outer.any()


def test_an_overflow_in_half_precision_is_named() -> None:
    with pytest.raises(ValueError, match=r"h\[0\] is inf.*run the model in float32 or leave that input out"):
        gram_of((torch.tensor([1e5]) * torch.ones(2)).half())


@pytest.mark.parametrize("count", [1, 1500])
def test_wide_grams_are_summed_in_float32_within_the_stated_bound(count: int) -> None:
    """Of each entry: ROWS times the rounding of float32, of the sum of the sizes of its products."""
    h = torch.randn(count, WIDE, generator=torch.Generator().manual_seed(count))
    found, exact = gram_of(h), h.double().T @ h.double()
    bound = ROWS * torch.finfo(torch.float32).eps / 2 * (h.double().abs().T @ h.double().abs())
    assert ((found.outer - exact).abs() <= bound).all()
    assert torch.allclose(found.total, h.double().sum(0))
    assert not torch.equal(found.outer, exact) or count == 1


@theorem
@given(seeds, counts, widths, st.integers(1, 7), st.lists(st.integers(0, 40), max_size=4))
def test_a_share_of_the_vectors_counts_for_all(seed: int, count: int, width: int, every: int, cuts: list[int]) -> None:
    """Whatever the batches, and where a stream goes on from another's sums."""
    h, stream = sample(seed, count, width), GramStream(width, every=every)
    for part in torch.tensor_split(h, sorted(min(cut, count) for cut in cuts)):
        further = GramStream(width, every=every)
        further.go_on(stream.sums())
        further.update(part)
        stream = further
    assert same(stream.gram, gram_of(h[::every]).weighted(every))


@theorem
@given(seeds, st.integers(2, 9))
def test_a_share_is_as_far_from_all_as_is_stated(seed: int, every: int) -> None:
    """The standard error of the mean product, by the root of (every / n) of the products' root mean square."""
    count = 20_000
    h, stream = sample(seed, count, 2, offset=0.0), GramStream(2, every=every)
    stream.update(h)
    products = h[:, :, None] * h[:, None, :]
    stated = (every / count) ** 0.5 * products.square().mean(0).sqrt()
    assert ((stream.gram.outer / stream.gram.count - products.mean(0)).abs() < 5 * stated).all()


def test_a_share_takes_no_weights() -> None:
    with pytest.raises(ValueError, match="counts some vectors alone takes no weights"):
        GramStream(2, every=2).update(torch.ones(3, 2), torch.ones(3))
