"""How well a description tells concepts apart on images that it was not fitted to, and how stiff it should be."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unsee.linalg.discriminant import scatter
from unsee.moments.telling import RIDGES, Telling, cross_validated

theorem = settings(deadline=None, derandomize=True, max_examples=15)
seeds = st.integers(0, 10**6)


def drawn(seed: int, concepts: int, each: int, width: int, apart: float) -> tuple[Tensor, Tensor]:
    """Vectors (concepts * each, width) about means of their concept's own that are so far apart, and the concepts."""
    generator = torch.Generator().manual_seed(seed)
    concept = torch.arange(concepts).repeat(each)
    means = apart * torch.randn(concepts, width, generator=generator)
    return means[concept] + torch.randn(len(concept), width, generator=generator), concept


def told(vectors: Tensor, concept: Tensor) -> Telling:
    return cross_validated(scatter(vectors, concept), vectors, concept)


@theorem
@given(seeds, st.integers(2, 5), st.integers(4, 9))
def test_concepts_far_apart_are_told_right(seed: int, concepts: int, each: int) -> None:
    found = told(*drawn(seed, concepts, each, 8, 30.0))
    assert found.right == 1.0
    assert 0 <= found.loss < 0.01


@theorem
@given(seeds, st.integers(2, 5))
def test_concepts_that_do_not_differ_are_guessed(seed: int, concepts: int) -> None:
    vectors, concept = drawn(seed, concepts, 40, 4, 0.0)
    found = told(vectors, concept)
    assert abs(found.right - 1 / concepts) < 0.2
    assert found.loss > 0.9 * math.log(concepts)


@theorem
@given(seeds)
def test_the_further_apart_the_smaller_the_loss(seed: int) -> None:
    losses = [told(*drawn(seed, 4, 10, 6, apart)).loss for apart in (0.3, 1.5, 6.0)]
    assert losses == sorted(losses, reverse=True)


@theorem
@given(seeds)
def test_the_ridge_grows_as_there_are_fewer_images_for_each_dimension(seed: int) -> None:
    many, some, few, least = (told(*drawn(seed, 4, each, 30, 2.0)).ridge for each in (200, 60, 16, 4))
    assert many < some < min(few, least)  # with fewer images than dimensions, there are only so many dimensions
    assert {many, some, few, least} <= set(RIDGES)


@theorem
@given(seeds, st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_units_and_origin_of_the_vectors_do_not_matter(seed: int, scale: float, move: float) -> None:
    vectors, concept = drawn(seed, 3, 6, 5, 3.0)
    plain, changed = told(vectors, concept), told(vectors * scale + move * scale, concept)
    assert (plain.right, plain.ridge) == (changed.right, changed.ridge)
    assert plain.loss == pytest.approx(changed.loss, rel=1e-2, abs=1e-4)


def test_nothing_is_said_where_no_concept_has_two_images() -> None:
    vectors = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    found = scatter(vectors, torch.arange(5))
    assert cross_validated(found, vectors, torch.arange(5)) == Telling(math.inf, 0.0, float(found.ridge))


def test_a_concept_with_a_single_image_is_not_asked_about() -> None:
    vectors, concept = drawn(0, 2, 6, 4, 30.0)
    vectors, concept = torch.cat([vectors, vectors[:1] + 200]), torch.cat([concept, torch.tensor([2])])
    assert told(vectors, concept).right == 1.0


def test_two_images_of_each_concept_are_no_mistake() -> None:
    """With one of each in another fold, nothing is left that varies within a concept: too few to say anything."""
    found = told(*drawn(0, 6, 2, 4, 30.0))
    assert found.ridge > 0
    assert 0 <= found.right <= 1
