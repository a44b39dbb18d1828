"""The losses on values that can be computed by hand."""

import math

import pytest
import torch

from unsee.linalg.discriminant import Discriminant
from unsee.losses import contrast, distance, identity
from unsee.regions import Modes, RetainedFeatures


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
    return RetainedFeatures(torch.zeros(1, 2), 4.0, Modes(torch.zeros(1, 1, 2), torch.zeros(1)), basis)


def test_distance_by_hand(known):
    features, goal = torch.tensor([[[1.0, 1.0]]]), torch.tensor([[[0.0, 0.0]]])
    assert identity(features, known).tolist() == [[2.0]]
    assert distance(features, goal, known, 0.0).item() == pytest.approx(1 / 4)
    assert distance(features, goal, known, 0.5).item() == pytest.approx(1 / 4 + 0.5 * 4)
    assert distance(goal, goal, known, 1.0).item() == 0


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
