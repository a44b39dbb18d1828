"""The losses on values that can be computed by hand."""

import math
from dataclasses import replace

import pytest
import torch

from unsee.forgetting.losses import contrast, distance, identity, output_shift
from unsee.linalg.discriminant import Discriminant
from unsee.linalg.gram import gram_of
from unsee.models.features import Features
from unsee.moments.modes import Modes, RetainedFeatures
from unsee.moments.vectors import Layout


def one(*tokens: list[float], own: int | None = None) -> Features:
    """One image with these tokens at one crossing, of which `own` are its own."""
    return Features({"p": torch.tensor([tokens])}, {"p": torch.tensor([own or len(tokens)])})


@pytest.fixture
def known() -> RetainedFeatures:
    """One token of width 2; the only coordinate is twice the first number."""
    basis = Discriminant(
        mean=torch.zeros(2),
        filters=torch.tensor([[2.0, 0.0]]),
        patterns=torch.tensor([[0.5, 0.0]]),
        ratios=torch.ones(1),
        concepts=torch.zeros(2, 1),
    )
    layout = Layout({"p": (1, 2)}, {"p": 1.0}, pooled=False)
    return RetainedFeatures(
        layout, {"p": 4.0}, torch.zeros(2), Modes(torch.zeros(1, 2), torch.zeros(1)), torch.zeros(0, 2), basis
    )


def test_distance_by_hand(known):
    features, goal = one([1.0, 1.0]), one([0.0, 0.0])
    assert identity(features, known).tolist() == [[2.0]]
    assert distance(features, goal, known, 0.0).item() == pytest.approx(1 / 4)
    assert distance(features, goal, known, 0.5).item() == pytest.approx(1 / 4 + 0.5 * 4)
    assert distance(goal, goal, known, 1.0).item() == 0


def test_padding_has_no_part_in_the_distance(known):
    pooled = replace(known, layout=Layout({"p": (1, 2)}, {"p": 1.0}, pooled=True))
    goal, found = one([0.0, 0.0]), []
    for padding in range(3):
        features = one([1.0, 1.0], *[[0.0, 0.0]] * padding, own=1)
        found.append(distance(features, goal, pooled, 0.5).item())
    assert found == [pytest.approx(1 / 4 + 0.5 * 4)] * 3


def test_every_crossing_counts_alike_in_units_of_its_spread(known):
    both = replace(known, spread={"p": 4.0, "q": 16.0})
    values = {"p": torch.ones(1, 1, 2), "q": torch.full((1, 5, 3), 2.0)}
    features = Features(values, {"p": torch.tensor([1]), "q": torch.tensor([5])})
    goal = Features({name: torch.zeros_like(value) for name, value in values.items()}, features.counts)
    assert distance(features, goal, both, 0.0).item() == pytest.approx(1 / 4)


def test_contrast_by_hand():
    anchor, positive, own, others = (torch.tensor([[value]]) for value in (0.0, 1.0, 2.0, 3.0))
    found = contrast(anchor, positive, own, others, same=torch.tensor([[True]]), temperature=2.0)
    logits = [-1 / 2, -4 / 2, -9 / 2]
    assert found.item() == pytest.approx(math.log(sum(map(math.exp, logits))) - logits[0], rel=1e-6)


def test_images_of_other_concepts_are_no_negatives():
    anchor, positive, own = (torch.tensor([[value]]) for value in (0.0, 1.0, 2.0))
    values = [
        contrast(anchor, positive, own, torch.tensor([[far]]), same=torch.tensor([[False]]), temperature=1.0).item()
        for far in (0.0, 100.0)
    ]
    assert values[0] == values[1]


def test_contrast_falls_on_the_way_to_the_region():
    positive, own, others = torch.tensor([[4.0]]), torch.tensor([[0.0]]), torch.tensor([[0.5]])
    values = [
        contrast(torch.tensor([[at]]), positive, own, others, same=torch.tensor([[True]]), temperature=0.5).item()
        for at in (0.0, 1.0, 2.0, 3.0, 4.0)
    ]
    assert values == sorted(values, reverse=True)


def test_what_moves_is_the_energy_of_the_outputs_that_changed():
    generator = torch.Generator().manual_seed(0)
    weight, start, vectors = (torch.randn(*shape, generator=generator) for shape in ((3, 4), (3, 4), (7, 4)))
    outer = gram_of(vectors).outer.float()
    expected = (vectors @ (weight - start).T).square().sum() / 5.0
    torch.testing.assert_close(output_shift(weight, start, outer, 5.0), expected)
    assert output_shift(start, start, outer, 5.0) == 0
