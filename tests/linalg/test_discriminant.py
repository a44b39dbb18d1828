"""Fisher's discriminant against the textbook, NumPy and scikit-learn, and what a region needs of its coordinates."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from unsee.errors import InputError
from unsee.linalg.discriminant import Discriminant, fit_discriminant, scatter

theorem = settings(deadline=None, derandomize=True, max_examples=25)
seeds, widths, kinds = st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 5)
ridges = st.floats(1e-4, 1.0)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn(seed: int, kinds: int, width: int, each: int = 30) -> tuple[Tensor, Tensor]:
    """Samples in float32 of correlated Gaussians about the means of `kinds` concepts, shuffled, with their numbers."""
    concept = torch.arange(kinds * each)[torch.randperm(kinds * each, generator=torch.Generator().manual_seed(seed))]
    concept = concept % kinds
    mixing = torch.eye(width, dtype=torch.float64) + 0.4 * normal(seed + 1, width, width)
    samples = 3 * normal(seed + 2, kinds, width)[concept] + normal(seed + 3, len(concept), width) @ mixing + 5
    return samples.float(), concept


def within(samples: Tensor, concept: Tensor) -> np.ndarray:
    """NumPy's scatter within the concepts, pooled and divided by the number of samples."""
    x, c = samples.double().numpy(), concept.numpy()
    inside = np.concatenate([x[c == name] - x[c == name].mean(0) for name in np.unique(c)])
    return np.asarray(inside.T @ inside / len(x))


def ridged(scatter: np.ndarray, ridge: float) -> np.ndarray:
    return np.asarray(scatter + ridge * np.trace(scatter) / len(scatter) * np.eye(len(scatter)))


def onto(rows: np.ndarray) -> np.ndarray:
    """The orthogonal projector on the span of the rows."""
    frame = np.linalg.svd(rows.astype(np.float64), full_matrices=False)[2]
    return np.asarray(frame.T @ frame)


def assert_same_coordinates(one: Discriminant, a: Tensor, other: Discriminant, b: Tensor, tolerance: float) -> None:
    """Up to the sign of each."""
    first, second = one.coordinates(a), other.coordinates(b)
    signs = torch.sign((first * second).sum(0))
    assert float((first - signs * second).abs().max()) < tolerance * (1 + float(first.abs().max()))


@theorem
@given(seeds, kinds, widths, ridges)
def test_shapes_and_order(seed: int, kinds: int, width: int, ridge: float) -> None:
    samples, concept = drawn(seed, kinds, width)
    found = fit_discriminant(samples, concept, ridge=ridge)
    count = min(kinds - 1, width)
    assert found.mean.shape == (width,)
    assert found.filters.shape == found.patterns.shape == (count, width)
    assert found.ratios.shape == (count,)
    assert found.concepts.shape == (kinds, count)
    parts = (found.mean, found.filters, found.patterns, found.ratios, found.concepts)
    assert all(part.dtype == torch.float32 for part in parts)
    assert (found.ratios >= 0).all()
    assert (found.ratios.diff() <= 0).all()
    torch.testing.assert_close(found.mean, samples.mean(0))


@theorem
@given(seeds, kinds, widths, ridges)
def test_the_coordinates_of_the_concepts_are_those_of_their_means(
    seed: int, kinds: int, width: int, ridge: float
) -> None:
    """In the order of the sorted numbers, which need not be consecutive; the ratios are their spread, each alike."""
    samples, concept = (part[20:] for part in drawn(seed, kinds, width))  # no longer equally many of each
    numbers = torch.tensor([40, -3, 7, 0, 12])
    found = fit_discriminant(samples, numbers[concept], ridge=ridge)
    means = torch.stack([samples[numbers[concept] == name].mean(0) for name in sorted(numbers[:kinds].tolist())])
    torch.testing.assert_close(found.coordinates(means), found.concepts, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.concepts.var(0, correction=0), found.ratios, atol=1e-3, rtol=1e-3)


@theorem
@given(seeds, kinds, widths, ridges)
def test_filters_and_patterns_are_biorthogonal(seed: int, kinds: int, width: int, ridge: float) -> None:
    samples, concept = drawn(seed, kinds, width)
    found = fit_discriminant(samples, concept, ridge=ridge)
    identity = torch.eye(len(found.filters))
    torch.testing.assert_close(found.filters @ found.patterns.T, identity, atol=1e-4, rtol=0)


@theorem
@given(seeds, kinds, widths, ridges)
def test_moving_along_the_patterns_moves_the_coordinates_by_just_that(
    seed: int, kinds: int, width: int, ridge: float
) -> None:
    """And nothing in a direction that is uncorrelated with them within the concepts: patterns = filters W."""
    samples, concept = drawn(seed, kinds, width)
    found = fit_discriminant(samples, concept, ridge=ridge)
    shift = normal(seed + 4, len(samples), len(found.filters)).float()
    moved = found.coordinates(samples + shift @ found.patterns) - found.coordinates(samples)
    torch.testing.assert_close(moved, shift, atol=2e-3, rtol=0)
    expected = found.filters.double().numpy() @ ridged(within(samples, concept), ridge)
    np.testing.assert_allclose(found.patterns.numpy(), expected, atol=1e-4 * np.abs(expected).max())


@theorem
@given(seeds, kinds, widths, ridges)
def test_coordinates_are_white_within_the_concepts_up_to_the_ridge(
    seed: int, kinds: int, width: int, ridge: float
) -> None:
    samples, concept = drawn(seed, kinds, width)
    found = fit_discriminant(samples, concept, ridge=ridge)
    scatter, filters = within(samples, concept), found.filters.double().numpy()
    inside = within(found.coordinates(samples), concept)
    taken = ridge * np.trace(scatter) / width * filters @ filters.T
    np.testing.assert_allclose(inside + taken, np.eye(len(filters)), atol=1e-3)
    assert (np.diag(inside) <= 1 + 1e-3).all()


@theorem
@given(seeds, kinds, widths)
def test_with_a_tiny_ridge_coordinates_are_white_within_the_concepts(seed: int, kinds: int, width: int) -> None:
    samples, concept = drawn(seed, kinds, width)
    inside = within(fit_discriminant(samples, concept, ridge=1e-9).coordinates(samples), concept)
    np.testing.assert_allclose(inside, np.eye(len(inside)), atol=1e-3)


@theorem
@given(seeds, kinds, widths, ridges)
def test_a_rotation_of_feature_space_changes_no_coordinate(seed: int, kinds: int, width: int, ridge: float) -> None:
    samples, concept = drawn(seed, kinds, width)
    rotation = torch.linalg.qr(normal(seed + 5, width, width)).Q.float()
    plain = fit_discriminant(samples, concept, ridge=ridge)
    assume((plain.ratios[:-1] > 1.1 * plain.ratios[1:]).all())  # where two are alike, any mixture of them will do
    turned = fit_discriminant(samples @ rotation, concept, ridge=ridge)
    assert_same_coordinates(plain, samples, turned, samples @ rotation, 2e-3)
    torch.testing.assert_close(plain.ratios, turned.ratios, rtol=1e-3, atol=1e-3)


@theorem
@given(seeds, widths, st.integers(10, 60), st.integers(10, 60))
def test_two_concepts_give_the_textbook_direction(seed: int, width: int, first: int, second: int) -> None:
    """S_w^-1 (m1 - m2), whatever the number of samples of each."""
    samples, concept = drawn(seed, 2, width, each=60)
    rows = torch.cat([torch.where(concept == 0)[0][:first], torch.where(concept == 1)[0][:second]])
    samples, concept = samples[rows], concept[rows]
    x, c = samples.double().numpy(), concept.numpy()
    for ridge in (1e-9, 0.1):
        direction = np.linalg.solve(ridged(within(samples, concept), ridge), x[c == 0].mean(0) - x[c == 1].mean(0))
        found = fit_discriminant(samples, concept, ridge=ridge).filters.numpy()
        np.testing.assert_allclose(onto(found), onto(direction[None]), atol=1e-4)


@theorem
@given(seeds, st.integers(2, 4), st.integers(4, 7))
def test_the_subspace_is_that_of_scikit_learn(seed: int, kinds: int, width: int) -> None:
    samples, concept = drawn(seed, kinds, width)
    samples, concept = samples[20:], concept[20:]  # no longer equally many of each
    found = fit_discriminant(samples, concept, ridge=1e-9)
    model = LinearDiscriminantAnalysis(solver="svd").fit(samples.double().numpy(), concept.numpy())
    np.testing.assert_allclose(onto(found.filters.numpy()), onto(model.scalings_[:, : kinds - 1].T), atol=1e-3)


@theorem
@given(seeds, kinds, st.integers(2, 5), st.integers(50, 300), st.floats(1e-2, 1.0))
def test_fewer_samples_than_dimensions_work(seed: int, kinds: int, each: int, width: int, ridge: float) -> None:
    samples, concept = drawn(seed, kinds, width, each)
    found = fit_discriminant(samples, concept, ridge=ridge)
    assert found.filters.shape == (kinds - 1, width)
    assert all(torch.isfinite(part).all() for part in (found.filters, found.patterns, found.ratios, found.concepts))
    torch.testing.assert_close(found.filters @ found.patterns.T, torch.eye(kinds - 1), atol=1e-4, rtol=0)
    own = torch.cdist(found.coordinates(samples), found.concepts).argmin(1)
    assert torch.equal(own, concept)
    spanned = onto((samples.double() - samples.double().mean(0)).numpy()[:-1])
    for rows in (found.filters.numpy(), found.patterns.numpy()):
        np.testing.assert_allclose(rows @ spanned, rows, atol=1e-4 * np.abs(rows).max())


@theorem
@given(seeds, kinds, st.integers(1, 6))
def test_no_more_than_the_principal_components_asked_for(seed: int, kinds: int, principal: int) -> None:
    samples, concept = drawn(seed, kinds, 9)
    found = fit_discriminant(samples, concept, principal=principal)
    assert len(found.filters) == min(kinds - 1, principal)
    wide = samples.double().numpy()
    leading = np.linalg.svd(wide - wide.mean(0), full_matrices=False)[2][:principal]
    for rows in (found.filters.numpy(), found.patterns.numpy()):
        np.testing.assert_allclose(rows @ leading.T @ leading, rows, atol=1e-4 * np.abs(rows).max())


@theorem
@given(seeds, st.integers(1, 4))
def test_a_mean_far_above_the_spread_changes_no_coordinate(seed: int, each: int) -> None:
    """Integers about multiples of 4096 are exact in float32; the rounding of their mean is not a direction."""
    generator = torch.Generator().manual_seed(seed)
    concept = torch.arange(3 * (each + 1)) % 3
    samples = torch.randint(-4, 5, (len(concept), 40), generator=generator).float()
    offset = 4096 * torch.randint(-9, 10, (40,), generator=generator).float()
    near, far = (fit_discriminant(x, concept, ridge=0.3) for x in (samples, samples + offset))
    assume(near.ratios[0] > 1.1 * near.ratios[1])
    torch.testing.assert_close(near.ratios, far.ratios, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(near.concepts.abs(), far.concepts.abs(), rtol=1e-4, atol=1e-4)


def test_one_concept_is_refused() -> None:
    with pytest.raises(ValueError, match="a discriminant needs at least two concepts, got 1"):
        fit_discriminant(normal(0, 6, 3), torch.zeros(6, dtype=torch.int64))


@pytest.mark.parametrize(
    ("samples", "concept"),
    [
        (normal(0, 5, 9), [0, 1, 2, 3, 4]),
        (normal(0, 2, 9).repeat(3, 1), [0, 1, 0, 1, 0, 1]),
        (torch.full((4, 9), 0.1), [0, 0, 1, 1]),
    ],
)
def test_concepts_that_never_vary_are_refused(samples: Tensor, concept: list[int]) -> None:
    with pytest.raises(InputError, match="no concept has two different samples; give several of each"):
        fit_discriminant(samples, torch.tensor(concept))


@theorem
@given(seeds, kinds, widths, st.data())
def test_samples_that_are_taken_out_again_were_never_there(
    seed: int, kinds: int, width: int, data: st.DataObject
) -> None:
    """In an origin and a basis that stay: the sums of the rest, and of no sample of a concept that is gone."""
    samples, concept = drawn(seed, kinds + 1, width)
    gone = concept == data.draw(st.integers(0, kinds))
    gone |= torch.rand(len(samples), generator=torch.Generator().manual_seed(seed)) < data.draw(st.floats(0, 0.5))
    whole = scatter(samples, concept)
    left = whole.without(samples[gone], concept[gone])
    reduced = whole.reduced(samples[~gone])
    sums = torch.stack([reduced[concept[~gone] == name].sum(0) for name in range(kinds + 1)])
    torch.testing.assert_close(left.outer, reduced.T @ reduced, rtol=1e-9, atol=1e-7)
    torch.testing.assert_close(left.sums, sums, rtol=1e-9, atol=1e-7)
    assert torch.equal(left.counts, torch.bincount(concept[~gone], minlength=kinds + 1).double())
    assert not left.sums[left.counts == 0].any()
    found = left.discriminant()
    assert len(found.concepts) == len(concept[~gone].unique())
    fresh = fit_discriminant(samples[~gone], concept[~gone])  # the basis spans everything: which it is does not matter
    torch.testing.assert_close(found.ratios, fresh.ratios, rtol=1e-3, atol=1e-3)


def test_more_than_was_counted_is_not_taken_out() -> None:
    samples, concept = drawn(0, 3, 4)
    with pytest.raises(ValueError, match="take out only what was counted"):
        scatter(samples, concept).without(samples.repeat(2, 1), concept.repeat(2))
