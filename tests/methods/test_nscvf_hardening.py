"""NSCVF made harder to undo: early layers, an attacker within the run, and every depth of the encoder."""

from contextlib import contextmanager

import pytest
import torch
from runs import NORMAL, QUICK

from unsee.errors import InputError
from unsee.forgetting.depths import Levels
from unsee.forgetting.hardening import Hardening
from unsee.methods import NSCVF
from unsee.models.checkpoint import load
from unsee.models.features import all_features, visual_features
from unsee.models.inputs import image_inputs
from unsee.models.outline import outline
from unsee.moments.measure import measure


def test_what_a_hardened_run_forgets_does_not_come_back_with_the_last_layers(vlm, target, retained):
    """With the last layers put back, the target's features are further from where they were than without hardening."""
    apart = {}
    for harden in (0.0, 1.0):
        settings = NSCVF(
            steps=50, batch=8, views=0, rate=0.03, distill=0, most_drift=10, share=1.0, stop_target=0, harden=harden
        )
        edit = settings.forget(vlm, target, retained)
        last = [name for name in edit.weights if "projector" in name]
        assert last
        assert len(last) < len(edit.weights)
        opened = load(vlm.folder)
        parameters = dict(opened.model.named_parameters())
        with torch.no_grad():
            for name, value in edit.weights.items():
                if name not in last:
                    parameters[name].copy_(value)
        inputs = image_inputs(vlm.processor, [sample.image for sample in target])
        before, after = (all_features(model.model, inputs).values["projector"] for model in (vlm, opened))
        apart[harden] = float((before - after).norm() / before.norm())
        assert edit.method["looks"][-1]["target"] < 0.7
    assert apart[1.0] > apart[0.0]


def test_later_layers_are_those_of_before_while_an_early_part_is_asked_and_then_again_what_they_were(
    vlm, target, retained, monkeypatch
):
    seen = []
    real = Hardening._as_before

    @contextmanager
    def watched(run, start):
        modules = dict(run.model.named_modules())
        held = {name: modules[name].weight.detach().clone() for name in start}
        with real(run, start):
            seen.append(len(start))
            assert all(torch.equal(modules[name].weight, value.float()) for name, value in start.items())
            yield
        assert all(torch.equal(modules[name].weight, held[name]) for name in start)
        assert all(modules[name].weight.requires_grad for name in start)

    monkeypatch.setattr(Hardening, "_as_before", watched)
    NSCVF(**QUICK, harden=1.0).forget(vlm, target, retained)
    assert len(set(seen)) > 1


def test_where_an_attacker_leads_a_resisting_run_the_target_is_nearer_to_its_region(vlm, target, retained, monkeypatch):
    found = []
    real = Hardening._attacked

    @contextmanager
    def watched(run, start, shown, steps):
        with real(run, start, shown, steps):
            every = torch.arange(len(run.goals.inputs))
            found.append(run.apart(every, run.goals.goal(every)).item())
            yield

    monkeypatch.setattr(Hardening, "_attacked", watched)
    apart = {}
    for resist in (1e-6, 1.0):
        settings = NSCVF(
            steps=100, batch=8, views=0, rate=0.06, distill=0, most_drift=10, share=1.0, resist=resist, tamper=0.03
        )
        looks = settings.forget(vlm, target, retained).method["looks"]
        assert looks[-1]["target"] < 0.7
        apart[resist] = sum(found[-20:])
    assert apart[1.0] < 0.5 * apart[1e-6]


def test_the_weights_are_led_back_by_so_many_steps_of_an_attacker_and_are_then_again_what_they_were(
    vlm, target, retained, monkeypatch
):
    seen = []
    real = Hardening._attacked

    @contextmanager
    def watched(run, start, shown, steps):
        modules = dict(run.model.named_modules())
        held = {name: modules[name].weight.detach().clone() for name in start}
        apart = run.apart(shown, run.goals.original[shown]).item()
        with real(run, start, shown, steps):
            seen.append((steps, apart, run.apart(shown, run.goals.original[shown]).item()))
            for name, value in held.items():
                size = 0.001 * start[name].float().square().mean().sqrt()
                moved = (modules[name].weight - value).abs().max()
                assert moved <= 1.001 * steps * size
            yield
        assert all(torch.equal(modules[name].weight, value) for name, value in held.items())

    monkeypatch.setattr(Hardening, "_attacked", watched)
    NSCVF(**QUICK, resist=1.0, tamper=0.001).forget(vlm, target, retained)
    assert len({steps for steps, _, _ in seen}) > 1
    assert all(after < before for _, before, after in seen[1:])  # at first nothing has moved that could be led back


def test_low_memory_resists_too(vlm, target, retained, in_turns):
    edit = NSCVF(**QUICK, resist=1.0).forget(vlm, target, retained, memory="low")
    assert edit.weights


def levels_of(vlm, target, retained):
    photos = measure(vlm, retained, NSCVF().moment_settings(0), NORMAL)[1]
    inputs = image_inputs(vlm.processor, [sample.image for sample in target])
    layers = list(outline(vlm.outline, vlm.partition, inputs[0]).trained)
    concept = torch.arange(len(target)) % 2
    return Levels(vlm.model, layers, inputs, concept, photos, 8), inputs, concept


def test_where_levels_send_the_target_its_concepts_are_one_and_what_varies_within_one_stays(vlm, target, retained):
    levels, inputs, concept = levels_of(vlm, target, retained)
    assert [name.rpartition(".")[2] for name in levels.names] == ["0", "1"]
    hooks = [len(module._forward_hooks) for module in vlm.model.modules()]
    with levels.watched() as given, torch.no_grad():
        visual_features(vlm.model, inputs)
    for name in levels.names:
        goal, now = levels.goals[name], levels.discriminants[name].coordinates(given[name])
        for number in (0, 1):
            own = concept == number
            assert torch.allclose(goal[own].mean(0), torch.zeros(goal.shape[1]), atol=1e-3)
            spread = [value[own] - value[own].mean(0) for value in (goal, now)]
            assert torch.allclose(*spread, atol=1e-3)
    gap = levels.distance(given, torch.arange(len(inputs)))
    assert gap > 0
    assert hooks == [len(module._forward_hooks) for module in vlm.model.modules()]


def test_a_run_with_depths_brings_the_target_nearer_to_one_at_every_trained_block(vlm, target, retained, monkeypatch):
    found = []
    real = Levels.distance
    monkeypatch.setattr(Levels, "distance", lambda *args: found.append(real(*args)) or found[-1])
    settings = NSCVF(steps=40, batch=8, views=0, rate=0.03, distill=0, most_drift=10, share=1.0, depths=1.0)
    settings.forget(vlm, target, retained)
    first, last = (sum(value.item() for value in part) for part in (found[:5], found[-5:]))
    assert last < 0.5 * first


def test_depths_needs_retained_photos_and_a_trained_block(vlm, target, retained):
    moments, _ = measure(vlm, retained, NSCVF().moment_settings(0), NORMAL)
    with pytest.raises(InputError, match="depths tells the target from retained photos"):
        NSCVF(**QUICK, depths=1.0).forget(vlm, target, None, moments=moments)
    with pytest.raises(InputError, match="no block of the encoder is trained"):
        NSCVF(**(QUICK | {"share": 0.01}), depths=1.0).forget(vlm, target, retained)


def test_low_memory_goes_to_every_depth_too(vlm, target, retained, in_turns):
    assert NSCVF(**QUICK, depths=1.0, harden=1.0, resist=1.0).forget(vlm, target, retained, memory="low").weights
