"""Forget quality: alike distributions score high, different ones low, against values worked out by hand."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from unsee.metrics.forget_quality import ks_p_value, one_minus_js

RNG = np.random.default_rng(0)
SAME = RNG.beta(2, 5, 400).tolist()
ALIKE = RNG.beta(2, 5, 400).tolist()
OTHER = RNG.beta(5, 2, 400).tolist()


def test_the_same_confidence_cannot_be_told_apart() -> None:
    assert ks_p_value(SAME, SAME) == pytest.approx(1.0)
    assert one_minus_js(SAME, SAME) == pytest.approx(1.0)


def test_another_confidence_is_told_apart() -> None:
    assert ks_p_value(SAME, ALIKE) > 0.05
    assert ks_p_value(SAME, OTHER) < 1e-6
    assert one_minus_js(SAME, OTHER) < one_minus_js(SAME, ALIKE)


def test_ks_by_hand() -> None:
    # Two samples of three that do not overlap: of the 20 ways to divide six values, two are as extreme.
    assert ks_p_value([0.1, 0.2, 0.3], [0.7, 0.8, 0.9]) == pytest.approx(2 / 20)


def test_divergence_by_hand() -> None:
    assert one_minus_js([0.01, 0.02], [0.98, 0.99]) == pytest.approx(0.0)
    # (1, 0) against (1/2, 1/2): the mean of KL to (3/4, 1/4) in bits
    divergence = (math.log2(4 / 3) + (math.log2(2 / 3) + math.log2(2)) / 2) / 2
    assert one_minus_js([0.01, 0.02], [0.01, 0.99]) == pytest.approx(1 - divergence)


def test_both_are_symmetric_and_do_not_depend_on_order() -> None:
    for measure in (ks_p_value, one_minus_js):
        assert measure(SAME, OTHER) == pytest.approx(measure(OTHER, SAME))
        assert measure(SAME[::-1], OTHER) == pytest.approx(measure(SAME, OTHER))


def test_sure_answers_count_in_the_last_bin() -> None:
    assert one_minus_js([1.0, 1.0], [0.96, 0.99]) == pytest.approx(1.0)


@pytest.mark.parametrize("measure", [ks_p_value, one_minus_js])
@pytest.mark.parametrize("bad", [[], [0.5, 1.5], [-0.1], [math.nan]])
def test_what_is_no_sample_of_probabilities_is_an_error(
    measure: Callable[[list[float], list[float]], float], bad: list[float]
) -> None:
    for sides in ((bad, SAME), (SAME, bad)):
        with pytest.raises(ValueError, match="probability"):
            measure(*sides)
