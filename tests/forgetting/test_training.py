"""The loop: descends, stops when its bars are reached, goes back where it should, resumes to the same bits."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import Parameter

from unsee.errors import InputError
from unsee.forgetting.confined import ConfinedWeight
from unsee.forgetting.optimizers import OPTIMIZERS
from unsee.forgetting.training import LEAST, Bars, Schedule, TrainingLog, Trust, fingerprint, train
from unsee.linalg.gram import gram_of
from unsee.linalg.subspace import energy, null_projector

GOAL = torch.arange(12.0).view(3, 4)


def run(
    state: Path | None = None,
    *,
    steps: int = 40,
    bound: float = -1.0,
    die_at: int | None = None,
    key: str = "k",
    rows: int = 3,
) -> tuple[torch.Tensor, TrainingLog]:
    weight = Parameter(torch.zeros(3, 4))
    confined = ConfinedWeight(weight, None)
    made = 0

    def loss(generator: torch.Generator) -> Iterator[torch.Tensor]:
        nonlocal made
        made += 1
        if die_at is not None and made > die_at:
            raise KeyboardInterrupt
        goal = GOAL + 0.1 * torch.randn(3, 4, generator=generator)
        for row in range(0, 3, rows):
            yield (weight - goal)[row : row + rows].square().sum() / 12

    log = train(
        {"w": confined},
        loss,
        lambda: {"far": (weight - GOAL).square().mean().item()},
        Bars({"far": bound}),
        Schedule(steps=steps, rate=0.5, weight_decay=0.01, look_every=5),
        seed=1,
        state=state,
        key=key,
    )
    return weight.detach().clone(), log


def test_it_comes_nearer_and_says_that_the_limit_ended_it():
    _, log = run()
    assert log.looks[-1]["far"] < 0.2 * log.looks[0]["far"]
    assert log.steps == 40
    assert "step limit was reached" in log.stopped
    assert [look["step"] for look in log.looks] == [5, 10, 15, 20, 25, 30, 35, 40]


def test_a_loss_in_parts_is_their_sum():
    assert torch.allclose(run()[0], run(rows=1)[0], atol=1e-5)


def test_it_stops_once_the_bar_is_reached():
    _, log = run(bound=20.0)
    assert log.steps < 40
    assert log.looks[-1]["far"] <= 20
    assert all(look["far"] > 20 for look in log.looks[:-1])
    assert "every bound was reached" in log.stopped


def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path):
    whole, log = run()
    state = tmp_path / "state.pt"
    with pytest.raises(KeyboardInterrupt):
        run(state, die_at=23)
    again, resumed = run(state)
    assert torch.equal(whole, again)
    assert resumed.looks == log.looks


def test_a_state_of_another_run_is_refused(tmp_path):
    state = tmp_path / "state.pt"
    run(state, steps=20)
    with pytest.raises(InputError, match="belongs to a run with other settings"):
        run(state, key="other")


def test_the_fingerprint_tells_its_parts_apart():
    assert fingerprint("a", "bc") != fingerprint("ab", "c")


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    st.integers(0, 10**6),
    st.floats(-6, 6),
    st.floats(-6, 6),
    st.floats(1e-4, 0.5),
    st.booleans(),
    st.integers(1, 4),
    st.sampled_from(sorted(OPTIMIZERS)),
)
def test_a_relative_step_has_exactly_the_length_asked_for_whatever_the_scale_of_weight_and_loss(
    seed: int, size: float, pull: float, rate: float, confined: bool, steps: int, optimizer: str
) -> None:
    """By the norm of the weight, within the span too; the lengths are those of the schedule."""
    generator = torch.Generator().manual_seed(seed)
    weight = Parameter(10**size * torch.randn(3, 5, generator=generator, dtype=torch.float64))
    goal = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    basis = energy(gram_of(torch.randn(2, 5, generator=generator, dtype=torch.float64)), 1.0)
    held = ConfinedWeight(weight, null_projector(basis) if confined else None)
    path = [weight.detach().clone()]

    def look() -> dict[str, float]:
        path.append(weight.detach().clone())
        return {"far": 1.0}

    train(
        {"w": held},
        lambda _: [10**pull * (weight * goal).sum()],
        look,
        Bars({"far": 0.0}),
        Schedule(steps, rate, 0.0, 1, relative=True, optimizer=optimizer),
        seed=0,
    )
    lengths = [float((after - before).norm() / path[0].norm()) for before, after in pairwise(path)]
    expected = [rate * (0.5 + 0.5 * math.cos(math.pi * step / steps)) for step in range(steps)]
    assert lengths == pytest.approx(expected, rel=1e-6)
    if confined:
        assert float(((path[-1] - path[0]) @ basis).norm()) <= 1e-9 * float(path[0].norm())


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_a_relative_step_of_a_weight_without_gradient_is_none(optimizer: str) -> None:
    held = ConfinedWeight(Parameter(torch.ones(2, 3)), torch.zeros(3, 3))
    train(
        {"w": held}, lambda _: [held.weight.sum()], lambda: {"far": 1.0}, Bars({"far": 0.0}),
        Schedule(3, 0.1, 0.0, 1, relative=True, optimizer=optimizer), seed=0,
    )  # fmt: skip
    assert torch.equal(held.weight, torch.ones(2, 3))


Seen = Sequence[dict[str, float]]


def trusted(
    seen: Seen | Callable[[torch.Tensor], dict[str, float]],
    state: Path | None = None,
    *,
    bars: dict[str, float] | None = None,
    steps: int = 0,
    die_at: int | None = None,
    lowest: float = 1.0,
) -> tuple[list[torch.Tensor], torch.Tensor, TrainingLog]:
    """A run that looks after every step and sees `seen`: the weight at each look, the one that is left, and the log."""
    weight = Parameter(torch.zeros(2, 3))
    path, looked = list[torch.Tensor](), 0

    def loss(generator: torch.Generator) -> Iterator[torch.Tensor]:
        yield (weight * torch.randn(2, 3, generator=generator)).sum()

    def look() -> dict[str, float]:
        nonlocal looked
        path.append(weight.detach().clone())
        looked += 1
        if looked == die_at:
            raise KeyboardInterrupt
        return seen(path[-1]) if callable(seen) else seen[looked - 1]

    log = train(
        {"w": ConfinedWeight(weight, None)},
        loss,
        look,
        Bars(bars or {"target": -1.0}),
        Schedule(steps or len(seen), 0.5, 0.0, 1),
        seed=1,
        trust=Trust({"drift": 0.1}, "target"),
        state=state,
        key="k",
        lowest=lowest,
    )
    return path, weight.detach().clone(), log


def at(target: float, drift: float = 0.0) -> dict[str, float]:
    return {"target": target, "drift": drift}


@pytest.mark.parametrize(
    "lost",
    [at(0.5, 0.2), at(2.0), at(0.5, math.inf), at(0.5, math.nan), at(math.nan), at(math.inf)],
    ids=["drift", "target", "infinite drift", "no drift", "no target", "infinite target"],
)
def test_a_look_that_loses_what_is_trusted_sends_the_run_back_with_half_the_rate(lost: dict[str, float]) -> None:
    """To the last good state, and with an optimizer that remembers nothing: its first step has the rate as length."""
    path, left, log = trusted([at(0.9), at(0.8), lost, at(0.7), at(0.6), at(0.5), at(0.4), at(0.3)])
    assert [look.get("retreat") for look in log.looks] == [None, None, 0.5, *[None] * 5]
    step = 0.5 * 0.5 * (0.5 + 0.5 * math.cos(math.pi * 3 / 8))
    torch.testing.assert_close((path[3] - path[1]).abs(), torch.full((2, 3), step), rtol=1e-4, atol=0)
    assert torch.equal(left, path[-1])
    assert log.final == log.looks[-1]


def test_a_value_that_should_fall_may_rise_a_little_or_where_it_is_small() -> None:
    _, _, log = trusted([at(0.5), at(0.6), at(0.04), at(0.05), at(0.0), at(0.05)])
    assert not any("retreat" in look for look in log.looks)


def test_the_best_state_is_left_and_not_the_last() -> None:
    path, left, log = trusted([at(0.9), at(0.4), at(0.45), at(0.48)])
    assert torch.equal(left, path[1])
    assert not torch.equal(left, path[-1])
    assert log.final == {"step": 2, **at(0.4)}
    assert log.stopped == "the step limit was reached: target 0.4"
    path, left, log = trusted([at(0.9), at(0.4), at(0.41), at(0.43)])
    assert torch.equal(left, path[2])  # as good, and later; the lowest is what counts, not the last that was kept
    assert log.final == {"step": 3, **at(0.41)}


def test_where_no_state_was_good_the_weights_are_those_of_the_start_and_the_log_says_so() -> None:
    path, left, log = trusted([at(0.9, 0.2), at(1.5), at(math.nan)])
    assert torch.equal(left, torch.zeros(2, 3))
    assert log.final == {}
    assert log.steps == 3
    assert log.stopped == "no step brought the target nearer without moving what is retained"
    assert [look["retreat"] for look in log.looks] == [0.5, 0.25, 0.125]
    assert len(path) == 3


def test_a_run_that_begins_near_its_goal_does_not_end_farther_from_it() -> None:
    """As the second of several turns does, in which other layers move."""
    _, left, log = trusted([at(0.12), at(0.11), at(0.3)], lowest=0.1)
    assert torch.equal(left, torch.zeros(2, 3))
    assert log.final == {}
    path, left, _ = trusted([at(0.12), at(0.08)], lowest=0.1)
    assert torch.equal(left, path[1])


def test_a_run_that_goes_back_again_and_again_ends() -> None:
    _, left, log = trusted([at(0.9, 1.0)] * 20)
    assert log.steps == math.log2(1 / LEAST)
    assert log.looks[-1]["retreat"] == LEAST
    assert torch.equal(left, torch.zeros(2, 3))
    path, left, log = trusted([at(0.9), *[at(0.8, 1.0)] * 20])
    assert torch.equal(left, path[0])
    assert log.stopped.startswith("smaller steps did not help")


def test_the_state_that_reaches_every_bound_is_left_although_an_earlier_one_was_nearer_to_the_target() -> None:
    """What ends a run is what it leaves."""
    path, left, log = trusted([at(0.01, 0.05), at(0.015, 0.01), at(0.5)], bars={"target": 0.02, "drift": 0.02})
    assert log.steps == 2
    assert "every bound was reached" in log.stopped
    assert torch.equal(left, path[1])


def test_without_trust_the_last_state_is_left() -> None:
    weight, log = run(steps=10)
    assert log.final == log.looks[-1]
    assert log.final["far"] == pytest.approx(float((weight - GOAL).square().mean()))


@pytest.mark.parametrize("die_at", range(2, 9))
def test_an_interrupted_run_with_trust_goes_on_to_the_same_bits(die_at: int, tmp_path: Path) -> None:
    """Wherever it was cut off: before a retreat, after it, with the best state behind it."""

    def seen(weight: torch.Tensor) -> dict[str, float]:
        far = float((weight - 0.4).square().mean())
        return at(far, 0.2 if float(weight.abs().max()) > 0.9 else 0.0)

    whole, expected, log = trusted(seen, steps=9)
    assert any("retreat" in look for look in log.looks)
    with pytest.raises(KeyboardInterrupt):
        trusted(seen, tmp_path / "state.pt", steps=9, die_at=die_at)
    again, left, resumed = trusted(seen, tmp_path / "state.pt", steps=9)
    assert torch.equal(left, expected)
    assert len(again) == len(whole) - die_at + 1
    assert (resumed.looks, resumed.final, resumed.stopped) == (log.looks, log.final, log.stopped)
