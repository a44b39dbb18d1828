"""Accuracy, its interval over concepts, and the figures derived from it, against values worked out by hand."""

import math

import pytest

from unsee.metrics.accuracy import KEPT, accuracy, balance, exact_match, oracle_gap

WHOLE = dict.fromkeys(["recognition/target", *KEPT, "text/target", "text/retained"], 1.0)


@pytest.mark.parametrize(
    ("answer", "expected", "same"),
    [
        ("Ada Abel", "Ada Abel", True),
        (" ada  ABEL\n", "Ada Abel", True),
        ("STRASSE", "straße", True),
        ("Ada", "Ada Abel", False),
        ("Ada Abel.", "Ada Abel", True),
        ("", "Ada", False),
    ],
)
def test_exact_match(answer: str, expected: str, same: bool) -> None:
    assert exact_match(answer, expected) is same


def test_accuracy_is_the_share_of_right_answers_however_they_are_clustered() -> None:
    correct = [True, False, True, True, False]
    assert accuracy(correct, ["a", "a", "a", "b", "c"])[0] == pytest.approx(3 / 5)
    assert accuracy(correct, list("abcde"))[0] == pytest.approx(3 / 5)


def test_the_interval_brackets_the_value_and_is_the_same_again() -> None:
    correct, cluster = [number % 7 > 1 for number in range(60)], [str(number % 20) for number in range(60)]
    value, (low, high) = accuracy(correct, cluster)
    assert 0 <= low < value < high <= 1
    assert accuracy(correct, cluster) == (value, (low, high))


def test_the_interval_is_near_the_binomial_one_for_independent_answers() -> None:
    correct = [number % 4 > 0 for number in range(400)]
    value, (low, high) = accuracy(correct, [str(number) for number in range(400)])
    half = 1.96 * math.sqrt(value * (1 - value) / 400)
    assert (value - low, high - value) == pytest.approx((half, half), abs=0.01)


def test_answers_that_stand_or_fall_together_widen_the_interval() -> None:
    correct = [number // 10 % 2 == 0 for number in range(200)]
    _, (low, high) = accuracy(correct, [str(number // 10) for number in range(200)])
    _, (naive_low, naive_high) = accuracy(correct, [str(number) for number in range(200)])
    assert high - low > 2 * (naive_high - naive_low)


@pytest.mark.parametrize("right", [True, False])
def test_all_right_or_all_wrong(right: bool) -> None:
    """Two people who are alike say little of a third: such as show themselves in neither once in forty are 84 %."""
    value, (low, high) = accuracy([right] * 4, list("aabb"))
    assert value == right
    assert (low, high) == pytest.approx((1 - 0.8419, 1.0) if right else (0.0, 0.8419), abs=1e-3)
    _, (low, high) = accuracy([right] * 400, [str(number) for number in range(400)])
    assert high - low < 0.01


def test_one_concept_says_nothing_about_others() -> None:
    assert accuracy([True, False], ["a", "a"]) == (0.5, (0.0, 1.0))


def test_accuracy_needs_answers_and_a_concept_for_each() -> None:
    with pytest.raises(ValueError, match="no answers"):
        accuracy([], [])
    with pytest.raises(ValueError, match="shorter"):
        accuracy([True, False], ["a"])


def test_balance_by_hand() -> None:
    before = {**WHOLE, "scene/target": 0.8, "text/retained": 0.9}
    after = {**WHOLE, "recognition/target": 0.5, "scene/target": 0.4, "text/retained": 0.9}
    # 1 - 0.5, 1, 0.4 / 0.8, 1, 1, 0.95 / 0.95
    assert balance(before, after) == pytest.approx(6 / (2 + 1 + 2 + 1 + 1 + 1))


def test_balance_of_a_perfect_and_a_useless_edit() -> None:
    assert balance(WHOLE, {**WHOLE, "recognition/target": 0.0}) == pytest.approx(1.0)
    assert balance(WHOLE, WHOLE) == 0.0
    assert balance(WHOLE, dict.fromkeys(WHOLE, 0.0)) == 0.0


def test_balance_leaves_out_what_was_never_known() -> None:
    never = {**WHOLE, "appearance/target": 0.0}
    assert balance(never, {**never, "recognition/target": 0.0}) == pytest.approx(1.0)


def test_what_a_model_never_knew_is_not_divided_by_and_is_no_success() -> None:
    silent = {**WHOLE, "text/target": 0.0, "text/retained": 0.0}
    assert balance(silent, {**silent, "recognition/target": 0.0}) == pytest.approx(1.0)
    assert balance(dict.fromkeys(WHOLE, 0.0), dict.fromkeys(WHOLE, 0.0)) == 0.0


def test_balance_needs_every_score() -> None:
    with pytest.raises(KeyError, match="scene/target"):
        balance({k: v for k, v in WHOLE.items() if k != "scene/target"}, WHOLE)


def test_oracle_gap_by_hand() -> None:
    assert oracle_gap(WHOLE, WHOLE) == 0.0
    after = {**WHOLE, "recognition/target": 0.3, "scene/target": 0.8}
    oracle = {**WHOLE, "recognition/target": 0.0, "scene/target": 0.9}
    assert oracle_gap(after, oracle) == pytest.approx((0.3 + 0.1) / 7)
    assert oracle_gap(oracle, after) == oracle_gap(after, oracle)
