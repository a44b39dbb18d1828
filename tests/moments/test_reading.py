"""What the language model reads of features: slopes that are slopes, directions that are orthonormal."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unsee.models.answers import answer_log_probabilities, say
from unsee.models.checkpoint import Vlm
from unsee.models.features import visual_features
from unsee.models.given import changed_features
from unsee.models.inputs import image_inputs
from unsee.moments.reading import TOKENS, Reader, read_directions
from unsee.moments.vectors import Layout, layout, spreads
from unsee.testing import images

theorem = settings(deadline=None, derandomize=True, max_examples=50)
seeds = st.integers(0, 10**6)
QUESTION = "Who is this?"
PICTURES = images(3, seed=4)
STEP = 2e-2  # of a finite difference: large enough for single precision


def asking(whole: Vlm, batch: int = 2, names: dict[str, str] | None = None, others: tuple[str, ...] = ()) -> Reader:
    return Reader(whole, QUESTION, batch, names or {}, others, frozenset())


@pytest.fixture(scope="module", params=[0, 4], ids=["tokens", "runs"])
def how(request: pytest.FixtureRequest, whole: Vlm) -> Layout:
    """Vectors of the tiny model's features, token by token or by means over runs."""
    features = visual_features(whole.model, image_inputs(whole.processor, PICTURES))
    return layout(features, spreads(features), request.param)


def margins(whole: Vlm, how: Layout, shift: Tensor) -> Tensor:
    """How much likelier, in all, the tokens of each image's own answer are than the second best, features moved."""
    questions = [(picture, QUESTION) for picture in PICTURES]
    answers = say(whole, questions, TOKENS)
    inputs = image_inputs(whole.processor, PICTURES)
    with torch.no_grad(), changed_features(whole.model, inputs, lambda features: how.shifted(features, shift)):
        likely, _, real = answer_log_probabilities(whole, questions, answers)
    best = likely.double().topk(2).values
    return ((best[..., 0] - best[..., 1]) * real).sum(1)


def along(whole: Vlm, how: Layout, directions: Tensor) -> Tensor:
    """The derivative of each image's margin along its direction, by a central difference."""
    return (margins(whole, how, STEP * directions) - margins(whole, how, -STEP * directions)) / (2 * STEP)


def test_slopes_agree_with_finite_differences_of_the_margin(whole: Vlm, how: Layout) -> None:
    """Along any direction the margin changes by its projection on the slope."""
    slopes = asking(whole).slopes(PICTURES, how)[: len(PICTURES)]
    steepest = along(whole, how, slopes)
    assert (steepest > 0).all()
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        aside = torch.nn.functional.normalize(torch.randn(slopes.shape, generator=generator), dim=1)
        mixed = torch.nn.functional.normalize(slopes + aside, dim=1)
        expected = steepest * (mixed * slopes).sum(1)
        torch.testing.assert_close(along(whole, how, mixed), expected, rtol=0.05, atol=0.05 * float(steepest.max()))


def test_two_slopes_of_each_image_have_the_length_one_and_do_not_depend_on_the_batch(whole: Vlm, how: Layout) -> None:
    """The second is of drawn tokens, which a seed decides."""
    one, all_ = (asking(whole, batch).slopes(PICTURES, how, seed=3) for batch in (3, 3))
    assert one.shape == (2 * len(PICTURES), how.width)
    torch.testing.assert_close(one.norm(dim=1), torch.ones(len(one)))
    assert torch.equal(one, all_)
    first = asking(whole, 3).slopes(PICTURES, how, seed=4)
    torch.testing.assert_close(first[:3], one[:3], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(first[3:], one[3:], atol=1e-2)


def test_the_model_is_left_as_it_was(whole: Vlm, how: Layout) -> None:
    asking(whole).slopes(PICTURES, how)
    assert "get_image_features" not in vars(whole.model.base_model)
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in whole.model.parameters())


def test_features_that_do_not_move_are_answered_as_the_images_are(whole: Vlm, how: Layout) -> None:
    questions = [(picture, QUESTION) for picture in PICTURES]
    still = torch.zeros(len(PICTURES), how.width)
    assert asking(whole).answers(PICTURES, how, still) == say(whole, questions, TOKENS)


def test_features_moved_onto_those_of_another_image_get_its_answer(whole: Vlm, how: Layout) -> None:
    if how.pooled:
        pytest.skip("means over runs do not say everything of an image")
    features = visual_features(whole.model, image_inputs(whole.processor, PICTURES))
    vectors = how.vectors(features)
    order = [1, 2, 0]
    expected = say(whole, [(PICTURES[place], QUESTION) for place in order], TOKENS)
    assert asking(whole).answers(PICTURES, how, vectors[order] - vectors) == expected


def test_where_images_land_is_told_by_their_names(whole: Vlm, how: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Share of the images that get their own concept's name; of the rest, those that get another's."""
    monkeypatch.setattr(Reader, "answers", lambda *_: ["Ann Lee", "bob", "nobody", "bob, or ann lee"])
    reader = asking(whole, names={"a": "ann lee", "b": "bob"}, others=("bob", "carl"))
    landed = reader.landed(PICTURES, ["a", "a", "a", "a"], how, torch.zeros(4, how.width))
    assert (landed.named, landed.another) == (0.5, 0.25)
    landed = reader.landed(PICTURES, ["b", "b", "b", "b"], how, torch.zeros(4, how.width))
    assert (landed.named, landed.another) == (0.5, 0.0)


@theorem
@given(seeds, st.integers(1, 8), st.integers(1, 12), st.integers(1, 10))
def test_read_directions_are_orthonormal_and_the_best_of_their_number(
    seed: int, count: int, width: int, most: int
) -> None:
    slopes = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    rows = read_directions(slopes, most)
    assert rows.shape == (min(most, count, width), width)
    torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), atol=1e-5, rtol=0)
    left = (slopes - slopes @ rows.T @ rows).square().sum()
    sizes = torch.linalg.svdvals(slopes)
    torch.testing.assert_close(left, sizes[len(rows) :].square().sum(), atol=1e-4, rtol=1e-4)


@theorem
@given(seeds, st.integers(1, 3), st.integers(4, 8))
def test_there_are_no_more_read_directions_than_slopes_that_differ(seed: int, rank: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    few = torch.randn(rank, 9, generator=generator)
    slopes = torch.randn(count, rank, generator=generator) @ few
    rows = read_directions(slopes, 9)
    assert len(rows) <= rank
    torch.testing.assert_close(slopes @ rows.T @ rows, slopes, atol=1e-3, rtol=1e-3)


def test_a_basis_of_read_directions_sees_what_the_model_reads_alone(whole: Vlm, how: Layout) -> None:
    """What is orthogonal to every slope does not count in a vector; a slope does."""
    slopes = asking(whole).slopes(PICTURES, how)
    read = replace(how, basis=read_directions(slopes, 4))
    features = visual_features(whole.model, image_inputs(whole.processor, PICTURES))
    assert read.vectors(features).shape == (3, 4)
    aside = torch.randn(3, how.width, generator=torch.Generator().manual_seed(1))
    aside -= aside @ read.basis.T @ read.basis
    torch.testing.assert_close(read.vectors(how.shifted(features, aside)), read.vectors(features), atol=1e-3, rtol=1e-3)
