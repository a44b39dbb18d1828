"""Contracts that every method in METHODS keeps, on a tiny random model."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch
from runs import QUICK, forget, interrupted, unmoved, values

from unsee.errors import InputError
from unsee.methods import METHODS

BASELINE = {"steps": 2, "batch": 4, "tokens": 2}
FEW = {
    "nscvf": QUICK,
    "closed_form": {"sweeps": 2, "views": 1},
    "streaming": QUICK,
    "rmu": {"steps": 2, "batch": 4},
} | {name: BASELINE for name, method in METHODS.items() if method.language}
FEW["manu"] = {"tokens": 2, "share": 0.1}


@pytest.fixture
def opened(method, vlm, whole):
    """The model as the method needs it."""
    return whole if method.language else vlm


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_only_visual_weights_move_and_the_model_is_left_as_it_was(method, opened, target, retained):
    before = values(opened)
    edit = forget(opened, target, retained, method=method(**FEW[method.name]))
    assert set(edit.weights) <= set(opened.partition.visual)
    assert any(not torch.equal(value, before[name]) for name, value in edit.weights.items())
    assert unmoved(opened, before)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_run_that_is_cut_off_leaves_the_model_as_it_was(method, opened, target, retained):
    before = values(opened)
    with pytest.raises(KeyboardInterrupt):
        forget(opened, target, retained, method=method(**FEW[method.name]), progress=interrupted(1))
    assert unmoved(opened, before)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(method, opened, target, retained):
    runs = [
        forget(opened, target, retained, method=method(**FEW[method.name]), seed=seed).weights for seed in (3, 3, 4)
    ]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    drawn = method.name != "manu"  # it draws nothing where there are few retained photos
    assert drawn == any(not torch.equal(runs[0][name], runs[2][name]) for name in runs[0])


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_language_model_runs_where_a_method_says_so_alone(method, opened, target, retained, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise RuntimeError("the language model ran")

    monkeypatch.setattr(opened.model.model.language_model, "forward", refuse)
    with (
        pytest.raises((RuntimeError, InputError), match="the language model ran") if method.language else nullcontext()
    ):
        forget(opened, target, retained, method=method(**FEW[method.name]))


def test_methods_are_frozen_dataclasses_listed_by_their_name():
    for name, method in METHODS.items():
        assert method.name == name
        with pytest.raises(dataclasses.FrozenInstanceError):
            method().name = "other"
