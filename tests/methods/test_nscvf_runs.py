"""How a run of NSCVF goes: in low memory, in parts, cut off and gone on with, or diverging."""

import pytest
import torch
from runs import NORMAL, QUICK, TURNS, forget, interrupted, unmoved, values

from unsee.errors import InputError
from unsee.forgetting import feature_run
from unsee.forgetting.confined import ConfinedWeight
from unsee.methods import NSCVF
from unsee.models import checkpoint as checkpoints
from unsee.system.memory import UNBOUNDED, Memory


def test_low_memory_moves_layers_in_turns_and_leaves_the_model_as_it_was(vlm, target, retained, in_turns):
    before, made = values(vlm), []
    trained = feature_run.train

    def noted(weights, *args, **kwargs):
        made.append(list(weights))
        return trained(weights, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(feature_run, "train", noted)
        edit = forget(vlm, target, retained, method=NSCVF(**QUICK), memory="low")
    assert len(made) == 3
    assert all(sum(before[f"{name}.weight"].numel() for name in names) <= TURNS.weights for names in made)
    assert {f"{name}.weight" for names in made for name in names} == set(edit.weights)
    assert sum(map(len, made)) == len(edit.weights) == len(edit.layers)
    moved = {name for name, value in edit.weights.items() if not torch.equal(value, before[name])}
    assert all(any(f"{name}.weight" in moved for name in names) for names in made)
    assert edit.method["steps_made"] == QUICK["steps"]
    assert unmoved(vlm, before)
    again = forget(vlm, target, retained, method=NSCVF(**QUICK), memory="low")
    assert all(torch.equal(value, again.weights[name]) for name, value in edit.weights.items())


def test_low_memory_forgets_too(vlm, target, retained, in_turns):
    method = NSCVF(steps=60, batch=8, views=0, rate=0.1, distill=0, most_drift=10)
    edit = forget(vlm, target, retained, method=method, memory="low")
    assert edit.method["looks"][-1]["target"] < 0.8
    assert edit.method["memory"] == "low"


def test_low_memory_leaves_no_file(vlm, target, retained, in_turns, tmp_path):
    forget(vlm, target, retained, method=NSCVF(**QUICK), memory="low", state=tmp_path / "state.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state_0.pt", "state_1.pt", "state_2.pt"]


def test_an_unknown_memory_mode_is_refused(vlm, target, retained):
    with pytest.raises(InputError, match="unknown memory mode 'lwo': did you mean 'low'"):
        forget(vlm, target, retained, memory="lwo")


@pytest.mark.parametrize("frugal", [False, True])
def test_a_step_in_parts_has_the_gradients_of_the_whole_step(frugal, vlm, target, retained, monkeypatch):
    parts = Memory(images=2, grams=UNBOUNDED, weights=UNBOUNDED, frugal=frugal)
    gradients, pull = [], ConfinedWeight.pull

    def noted(self):
        gradients.append(self.weight.grad.clone())
        pull(self)

    monkeypatch.setattr(ConfinedWeight, "pull", noted)
    method, found, edits = NSCVF(steps=1, batch=5, views=1, composites=4), [], []
    for bounds in (NORMAL, parts):
        monkeypatch.setattr(checkpoints, "plan", lambda *_, bounds=bounds, **__: bounds)
        edits.append(forget(vlm, target, retained, method=method))
        found.append(list(gradients))
        gradients.clear()
    assert len(found[0]) == len(found[1]) == len(edits[0].weights)
    assert all(one.norm() > 0 and (one - two).norm() <= 1e-4 * one.norm() for one, two in zip(*found, strict=True))
    start = values(vlm)
    for name, value in edits[0].weights.items():
        assert (edits[1].weights[name] - value).norm() <= 1e-5 * start[name].norm()


@pytest.mark.parametrize("memory", ["normal", "low"])
@pytest.mark.parametrize("died", [2, 4])
def test_a_run_that_was_cut_off_goes_on_to_the_same_bits(
    memory, died, vlm, target, retained, in_turns, monkeypatch, tmp_path
):
    monkeypatch.setattr(feature_run, "LOOK_EVERY", 2)
    method = NSCVF(steps=12, batch=4, views=1, composites=4, rate=1e-2, stop_target=0, stop_drift=0)
    state = tmp_path / "state.pt"
    whole = forget(vlm, target, retained, method=method, memory=memory)
    with pytest.raises(KeyboardInterrupt):
        forget(vlm, target, retained, method=method, memory=memory, state=state, progress=interrupted(died))
    calls = []
    again = forget(
        vlm, target, retained, method=method, memory=memory, state=state, progress=lambda *now: calls.append(now)
    )
    assert 0 < len(calls) < len(whole.method["looks"])
    assert again.weights.keys() == whole.weights.keys()
    assert all(torch.equal(value, again.weights[name]) for name, value in whole.weights.items())
    assert again.method == whole.method
    assert again.layers == whole.layers


def test_a_state_of_another_run_is_refused(vlm, target, retained, monkeypatch, tmp_path):
    state = tmp_path / "state.pt"
    forget(vlm, target, retained, method=NSCVF(**QUICK), state=state)
    for other in ({"seed": 1}, {"method": NSCVF(**QUICK, reach=2.0)}, {"memory": "low"}):
        with pytest.raises(InputError, match="belongs to a run with other settings, photos or model"):
            forget(vlm, target, retained, **({"method": NSCVF(**QUICK)} | other), state=state)


@pytest.mark.parametrize("memory", ["normal", "low"])
def test_a_run_that_diverges_goes_back_to_where_it_began_and_says_so(memory, vlm, target, retained, in_turns):
    before = values(vlm)
    method = NSCVF(steps=3, batch=2, views=0, composites=0, rate=1e25)
    try:
        edit = forget(vlm, target, retained, method=method, memory=memory)
    finally:
        assert unmoved(vlm, before)
    assert all(torch.equal(value, before[name]) for name, value in edit.weights.items())
    assert edit.method["final"] == {}
    assert "no step brought the target nearer without moving what is retained" in edit.stopped
    assert all(look["retreat"] == 0.5 for look in edit.method["looks"])
