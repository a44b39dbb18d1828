"""What the language model reads of features: slopes that are slopes, directions that are orthonormal."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional as F

from unsee.models.answers import answer_log_probabilities, say
from unsee.models.checkpoint import Vlm, load
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
STEP = 1e-3  # of a finite difference


def asking(whole: Vlm, batch: int = 2, names: dict[str, str] | None = None, others: tuple[str, ...] = ()) -> Reader:
    return Reader(whole, QUESTION, batch, names or {}, others, frozenset())


@pytest.fixture(scope="module", params=[0, 4], ids=["tokens", "runs"])
def how(request: pytest.FixtureRequest, whole: Vlm) -> Layout:
    """Vectors of the tiny model's features, token by token or by means over runs."""
    features = visual_features(whole.model, image_inputs(whole.processor, PICTURES))
    return layout(features, spreads(features), request.param)


def slopes(whole: Vlm, how: Layout, batch: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The slopes (image, d) of the margins, and those of the drawn tokens; each batch has its own, in this order."""
    rows = asking(whole, batch).slopes(PICTURES, how, seed)
    parts = rows.split(2 * batch)
    return torch.cat([part[: len(part) // 2] for part in parts]), torch.cat([part[len(part) // 2 :] for part in parts])


def margins(whole: Vlm, how: Layout, shift: Tensor) -> Tensor:
    """By how much likelier, in all, an image's own answer is than the second best tokens, once features are moved."""
    questions = [(picture, QUESTION) for picture in PICTURES]
    answers, inputs = say(whole, questions, TOKENS), image_inputs(whole.processor, PICTURES)
    with torch.no_grad():
        best = answer_log_probabilities(whole, questions, answers)[0].topk(2).indices
        with changed_features(whole.model, inputs, lambda features: how.shifted(features, shift)):
            likely, _, real = answer_log_probabilities(whole, questions, answers)
    first, second = likely.double().gather(2, best).unbind(-1)
    return ((first - second) * real).sum(1)


def along(whole: Vlm, how: Layout, directions: Tensor) -> Tensor:
    """The derivative of each image's margin along its direction, by a central difference."""
    return (margins(whole, how, STEP * directions) - margins(whole, how, -STEP * directions)) / (2 * STEP)


def test_slopes_agree_with_finite_differences_of_the_margin(whole: Vlm, how: Layout) -> None:
    """Along any direction the margin changes by its projection on the slope, which is the steepest."""
    slope, _ = slopes(whole, how, 3)
    steepest = along(whole, how, slope)
    assert (steepest > 0).all()
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        aside = F.normalize(torch.randn(slope.shape, generator=generator), dim=1)
        mixed = F.normalize(slope + aside, dim=1)
        torch.testing.assert_close(
            along(whole, how, mixed) / steepest, (mixed * slope).sum(1).double(), rtol=0, atol=0.01
        )


def test_slopes_have_the_length_one_and_those_of_margins_depend_on_neither_batch_nor_seed(
    whole: Vlm, how: Layout
) -> None:
    first, drawn = slopes(whole, how, 3, seed=3)
    for rows in (first, drawn):
        assert rows.shape == (len(PICTURES), how.width)
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)))
    again, same = slopes(whole, how, 3, seed=3)
    assert torch.equal(first, again)
    assert torch.equal(drawn, same)
    alone, others = slopes(whole, how, 1, seed=4)
    torch.testing.assert_close(alone, first, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(others, drawn, atol=1e-2)


def test_the_model_is_left_as_it_was(whole: Vlm, how: Layout) -> None:
    slopes(whole, how, 2)
    assert "get_image_features" not in vars(whole.model.base_model)
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in whole.model.parameters())


@pytest.fixture(scope="module")
def seeing(checkpoint: Path) -> Vlm:
    """The tiny model with so much weight on what it sees that its answers differ from image to image."""
    opened = load(checkpoint, language=True)
    inner: Any = opened.model.base_model
    with torch.no_grad():
        inner.multi_modal_projector.linear_2.weight.mul_(100)
        inner.language_model.layers[0].self_attn.o_proj.weight.mul_(100)
    return opened


def test_features_that_are_moved_onto_those_of_another_image_get_its_answer(seeing: Vlm) -> None:
    answers = say(seeing, [(picture, QUESTION) for picture in PICTURES], TOKENS)
    assert len(set(answers)) > 1
    features = visual_features(seeing.model, image_inputs(seeing.processor, PICTURES))
    how = layout(features, spreads(features))
    vectors, reader = how.vectors(features), asking(seeing)
    assert reader.answers(PICTURES, how, torch.zeros_like(vectors)) == answers
    for order in ([1, 2, 0], [2, 0, 1]):
        assert reader.answers(PICTURES, how, vectors[order] - vectors) == [answers[place] for place in order]


def test_where_images_land_is_told_by_their_names(whole: Vlm, how: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Share of the images that get their own concept's name; of the rest, those that get another's."""
    monkeypatch.setattr(Reader, "answers", lambda *_: ["Ann Lee", "bob", "nobody", "bob, or ann lee"])
    reader = asking(whole, names={"a": "ann lee", "b": "bob"}, others=("bob", "carl"))
    four = [*PICTURES, PICTURES[0]]
    landed = reader.landed(four, ["a", "a", "a", "a"], how, torch.zeros(4, how.width))
    assert (landed.named, landed.another) == (0.5, 0.25)
    landed = reader.landed(four, ["b", "b", "b", "b"], how, torch.zeros(4, how.width))
    assert (landed.named, landed.another) == (0.5, 0.0)


def test_a_concept_that_the_model_does_not_know_lands_nowhere(
    whole: Vlm, how: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no name that could go; the others of the request are counted without it."""
    asked = list[int]()

    def answers(_: Reader, images: list[Image], *__: object) -> list[str]:
        asked.append(len(images))
        return ["nobody", "ann lee"]

    monkeypatch.setattr(Reader, "answers", answers)
    reader = asking(whole, names={"a": "ann lee"}, others=("bob",))
    landed = reader.landed(PICTURES, ["a", "stranger", "a"], how, torch.zeros(3, how.width))
    assert (landed.named, landed.another) == (0.5, 0.0)
    assert reader.landed(PICTURES, ["stranger"] * 3, how, torch.zeros(3, how.width)).named == 0.0
    assert asked == [2]


@theorem
@given(seeds, st.integers(1, 8), st.integers(1, 12), st.integers(1, 10))
def test_read_directions_are_orthonormal_and_the_best_of_their_number(
    seed: int, count: int, width: int, most: int
) -> None:
    found = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    rows = read_directions(found, most)
    assert rows.shape == (min(most, count, width), width)
    torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), atol=1e-5, rtol=0)
    left = (found - found @ rows.T @ rows).square().sum()
    sizes = torch.linalg.svdvals(found)
    torch.testing.assert_close(left, sizes[len(rows) :].square().sum(), atol=1e-4, rtol=1e-4)


@theorem
@given(seeds, st.integers(1, 3), st.integers(4, 8))
def test_there_are_no_more_read_directions_than_slopes_that_differ(seed: int, rank: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    few = torch.randn(rank, 9, generator=generator)
    found = torch.randn(count, rank, generator=generator) @ few
    rows = read_directions(found, 9)
    assert len(rows) <= rank
    torch.testing.assert_close(found @ rows.T @ rows, found, atol=1e-3, rtol=1e-3)


def test_a_basis_of_read_directions_sees_what_the_model_reads_alone(whole: Vlm, how: Layout) -> None:
    """What is orthogonal to every slope does not count in a vector; a slope does."""
    read = replace(how, basis=read_directions(asking(whole).slopes(PICTURES, how), 4))
    features = visual_features(whole.model, image_inputs(whole.processor, PICTURES))
    assert read.vectors(features).shape == (3, 4)
    aside = torch.randn(3, how.width, generator=torch.Generator().manual_seed(1))
    aside -= aside @ read.basis.T @ read.basis
    torch.testing.assert_close(read.vectors(how.shifted(features, aside)), read.vectors(features), atol=1e-3, rtol=1e-3)
