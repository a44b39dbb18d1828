"""Intervals over people: of one balance, and of the difference of two."""

import numpy as np
import pytest

from unsee.metrics.accuracy import KEPT, balance
from unsee.metrics.resampling import balances, interval

NAMES = ("recognition/target", *KEPT, "text/target", "text/retained")


def outcomes(
    share: float, people: int = 40, asked: int = 20, spread: float = 0.0
) -> dict[str, dict[str, tuple[int, int]]]:
    """Everybody gets this share of the answers right, every other one `spread` more, the rest as much less."""
    return {
        name: {f"p{n}": (round(asked * (share + spread * (-1) ** n)), asked) for n in range(people)} for name in NAMES
    }


def mixed(target: float, kept: float, spread: float = 0.0) -> dict[str, dict[str, tuple[int, int]]]:
    return outcomes(kept, spread=spread) | {"recognition/target": outcomes(target, spread=spread)["recognition/target"]}


def test_where_all_people_are_alike_every_resample_is_the_balance_itself() -> None:
    before, after = outcomes(1.0), mixed(0.1, 0.9)
    draws = balances(before, after)
    shares = dict.fromkeys(NAMES, 0.9) | {"recognition/target": 0.1}
    expected = balance(dict.fromkeys(NAMES, 1.0), shares)
    np.testing.assert_allclose(draws, expected)
    assert interval(draws) == pytest.approx((expected, expected))


def test_the_interval_holds_the_balance_and_narrows_with_people() -> None:
    before, after = outcomes(1.0), mixed(0.2, 0.8, spread=0.1)
    low, high = interval(balances(before, after))
    assert low < 0.8 < high
    few = {name: dict(list(people.items())[:6]) for name, people in after.items()}
    start = {name: dict(list(people.items())[:6]) for name, people in before.items()}
    wide = interval(balances(start, few))
    assert wide[1] - wide[0] > 1.5 * (high - low)


def test_two_methods_are_compared_on_the_same_people() -> None:
    """Both vary from person to person, one is always a little better: the difference is sure, the values are not."""
    before = outcomes(1.0)
    better, worse = mixed(0.2, 0.8, spread=0.1), mixed(0.25, 0.8, spread=0.1)
    draws = [balances(before, side) for side in (better, worse)]
    low, high = interval(draws[0] - draws[1])
    assert 0 < low < high
    assert interval(draws[0])[0] < interval(draws[1])[1]


def test_a_model_that_forgot_nothing_has_balance_zero_and_a_missing_score_is_an_error() -> None:
    before = outcomes(1.0)
    assert balances(before, outcomes(1.0)).max() == 0
    with pytest.raises(KeyError):
        balances(before, {"recognition/target": {"p": (1, 2)}})


@pytest.mark.parametrize("dead", [(), ("scene/target",), KEPT])
def test_what_a_model_did_not_know_before_counts_in_neither(dead: tuple[str, ...]) -> None:
    before = outcomes(1.0) | {name: outcomes(0.0)[name] for name in dead}
    after = mixed(0.2, 0.5) | {name: outcomes(0.0)[name] for name in dead}
    starts, ends = (
        {name: sum(right for right, _ in side[name].values()) / 800 for name in NAMES} for side in (before, after)
    )
    np.testing.assert_allclose(balances(before, after), balance(starts, ends))


def test_of_a_model_that_knew_nothing_there_is_no_balance_to_be_sure_of() -> None:
    assert interval(balances(outcomes(0.0), outcomes(0.0))) == (0.0, 0.0)
