"""Contracts that every method in METHODS keeps, on a tiny random model."""

import dataclasses

import pytest
import torch

from unsee import api
from unsee.errors import InputError
from unsee.linalg.subspace import retained_basis
from unsee.methods import METHODS, NSCVF
from unsee.models.checkpoint import Vlm, load
from unsee.moments import measure
from unsee.records import Sample
from unsee.testing import images, tiny_checkpoint

QUICK = {"steps": 6, "batch": 4, "views": 1, "rate": 1e-2}


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    return load(tiny_checkpoint(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def target() -> list[Sample]:
    return [Sample(image, "target") for image in images(6, seed=1)]


@pytest.fixture(scope="module")
def retained() -> list[Sample]:
    return [Sample(image, f"other {number % 4}") for number, image in enumerate(images(24, seed=2))]


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_only_visual_weights_move_and_the_model_is_left_as_it_was(method, vlm, target, retained):
    before = {name: value.clone() for name, value in vlm.model.state_dict().items()}
    edit = api.forget(vlm, target, retained, method=method(**QUICK))
    assert set(edit.weights) <= set(vlm.partition.visual)
    assert any(not torch.equal(value, before[name]) for name, value in edit.weights.items())
    assert all(torch.equal(value, before[name]) for name, value in vlm.model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in vlm.model.parameters())


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(method, vlm, target, retained):
    runs = [api.forget(vlm, target, retained, method=method(**QUICK), seed=seed).weights for seed in (3, 3, 4)]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    assert any(not torch.equal(runs[0][name], runs[2][name]) for name in runs[0])


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_language_model_never_runs(method, vlm, target, retained, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise RuntimeError("the language model ran")

    monkeypatch.setattr(vlm.model.model.language_model, "forward", refuse)
    api.forget(vlm, target, retained, method=method(**QUICK))


def test_the_target_comes_nearer_to_its_region_and_the_run_says_why_it_stopped(vlm, target, retained):
    edit = api.forget(vlm, target, retained, method=NSCVF(steps=50, batch=8, views=0, rate=1e-3, distill=0))
    assert edit.method["looks"][-1]["target"] < 0.7
    assert "step limit" in edit.stopped
    easy = NSCVF(steps=75, batch=4, views=0, rate=1e-4, stop_target=2.0, stop_drift=2.0)
    early = api.forget(vlm, target, retained, method=easy)
    assert early.method["steps_made"] == 25
    assert "every bound was reached" in early.stopped


@pytest.mark.parametrize("criterion", ["energy", "centred", "rank", "kaiser"])
def test_a_hard_null_space_leaves_every_retained_direction_alone(criterion, vlm, target, retained):
    method = NSCVF(**QUICK, criterion=criterion, keep=0.9, weight_decay=0.1)
    moments, _ = measure(vlm, retained, method.moment_settings(0))
    edit = api.forget(vlm, target, retained, method=method)
    state = vlm.model.state_dict()
    for layer, gram in moments.grams.items():
        delta = (edit.weights[f"{layer}.weight"] - state[f"{layer}.weight"]).double()
        basis = retained_basis(gram, criterion, 0.9)
        assert (delta @ basis).norm() <= 1e-5 * state[f"{layer}.weight"].norm()


def test_without_the_null_space_the_retained_directions_do_move(vlm, target, retained):
    method = NSCVF(**QUICK, null_space=False)
    moments, _ = measure(vlm, retained, method.moment_settings(0))
    edit = api.forget(vlm, target, retained, method=method)
    layer, gram = next(iter(moments.grams.items()))
    delta = (edit.weights[f"{layer}.weight"] - vlm.model.state_dict()[f"{layer}.weight"]).double()
    assert (delta @ retained_basis(gram, "kaiser", 0.9)).norm() > 1e-3


def test_moments_stand_in_for_retained_images(vlm, target, retained):
    method = NSCVF(**QUICK)
    moments, _ = measure(vlm, retained, method.moment_settings(0))
    edit = api.forget(vlm, target, method=method, moments=moments)
    assert edit.method["retained_images"] == len(retained)
    with pytest.raises(InputError, match="neither retained images nor moments"):
        api.forget(vlm, target, method=method)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("reach", 0.0), ("temperature", -1.0), ("ridge", 0.0), ("keep", 1.5), ("steps", 0), ("batch", 0),
        ("directions", 0), ("rate", float("nan")), ("distill", -1.0), ("region", "nowhere"), ("criterion", "kiser"),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused_by_name(setting, value):
    with pytest.raises(InputError, match=setting):
        NSCVF(**{setting: value})


def test_a_loss_that_forgets_nothing_is_refused():
    with pytest.raises(InputError, match="nothing would be forgotten"):
        NSCVF(contrast=0, attract=0)


def test_methods_are_frozen_dataclasses_listed_by_their_name():
    for name, method in METHODS.items():
        assert method.name == name
        with pytest.raises(dataclasses.FrozenInstanceError):
            method().steps = 1
