"""The loop: descends, stops when its bars are reached, and resumes to the same bits."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import Parameter

from unsee.errors import InputError
from unsee.forgetting.confined import ConfinedWeight
from unsee.forgetting.training import Bars, Schedule, TrainingLog, fingerprint, train

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
