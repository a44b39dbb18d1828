"""NSCVF on a tiny random model: where the target goes, what is held meanwhile, and which settings are refused."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from runs import NORMAL, QUICK, forget, values

from unsee.errors import InputError
from unsee.forgetting import feature_run
from unsee.forgetting import goals as goals_module
from unsee.forgetting.goals import Goals, GoalSettings
from unsee.forgetting.regions import RegionSettings, belonging
from unsee.linalg.subspace import retained_basis
from unsee.methods import NSCVF
from unsee.models.prefix import prefix_states
from unsee.moments.measure import measure, prepare
from unsee.records import Sample
from unsee.system.memory import plan
from unsee.testing import images


def test_a_run_is_the_same_where_the_frozen_blocks_run_in_every_step(vlm, target, retained, monkeypatch):
    method = NSCVF(**QUICK | {"share": 0.5})
    used = []

    def spied(*args):
        used.append(prefix_states(*args))
        return used[-1]

    monkeypatch.setattr(feature_run, "prefix_states", spied)
    once = forget(vlm, target, retained, method=method).weights
    monkeypatch.setattr(feature_run, "prefix_states", lambda *_: None)
    always = forget(vlm, target, retained, method=method).weights
    assert used[0] is not None
    assert all(torch.equal(once[name], always[name]) for name in always)


def test_a_step_with_blends_is_the_same_in_parts_of_any_size(vlm, target, retained, monkeypatch):
    method = NSCVF(**QUICK | {"steps": 2, "blends": 12, "contrast": 1.0, "runs": 1})
    bounds, found = type(vlm).bounds, []
    for size in (1, 3, 128):
        monkeypatch.setattr(
            type(vlm), "bounds", lambda self, memory, size=size: replace(bounds(self, memory), images=size)
        )
        found.append(forget(vlm, target, retained, method=method).weights)
    for name, value in found[0].items():
        for other in found[1:]:
            torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("null_space", [True, False])
def test_a_guard_holds_what_is_guarded(vlm, target, retained, null_space):
    moments, photos = measure(vlm, retained, NSCVF().moment_settings(0), NORMAL)
    earlier = {name: gram.weighted(1 / gram.count) for name, gram in moments.grams.items()}
    method = NSCVF(steps=100, batch=4, views=0, blends=0, rate=1e-3, share=1.0, distill=0, null_space=null_space)
    drifts = []
    for weight in (0.0, 10.0, 30.0):
        guard = {name: gram.weighted(weight) for name, gram in earlier.items()} if weight else {}
        edit = method.forget(vlm, target, photos, moments=replace(moments, guard=guard))
        drifts.append(sum(layer.retained for layer in edit.layers))
    assert drifts[0] > 1.1 * drifts[1] > 1.2 * drifts[2] > 0


def alike(count, seed):
    """So many images that are much like one another."""
    first, *others = images(1 + count, seed=seed)
    return [Image.blend(first, other, 0.1) for other in others]


def test_a_blend_goes_as_far_as_it_is_of_the_target(vlm):
    target = [Sample(image, "target") for image in alike(6, 1)]
    retained = [Sample(image, f"other {number}") for number in range(4) for image in alike(6, 2 + number)]
    moments, photos = measure(vlm, retained, NSCVF().moment_settings(0), NORMAL)
    shown = prepare(vlm, target, 8)
    asked = RegionSettings(modes=1, directions=3, reach=2.0, seed=0)
    wanted = GoalSettings("discriminant", asked, views=1, blends=18)
    goals = Goals(vlm, shown, moments.features, wanted, 8, photos.pictures)
    assert (goals.wholes, len(goals.inputs), len(goals.shift)) == (12, 30, 30)
    share = goals.shift.norm(dim=1) / goals.sent.shift.repeat(5, 1).norm(dim=1)
    torch.testing.assert_close(share[:12], torch.ones(12))
    near = belonging(
        moments.features.layout.vectors(goals.original[torch.arange(12, 30)]),
        goals.concept[12:],
        goals.own,
        moments.features,
    )
    torch.testing.assert_close(share[12:], near)
    assert near.max() - near.min() > 0.05
    alone = Goals(vlm, shown, moments.features, wanted, 8)
    assert len(alone.inputs) == alone.wholes == 12


def test_variations_are_dealt_evenly_and_no_more_than_memory_has_room_for(vlm, target, retained, monkeypatch):
    moments, photos = measure(vlm, retained, NSCVF().moment_settings(0), NORMAL)
    shown = prepare(vlm, target, 8)

    def made(views, blends):
        wanted = GoalSettings("discriminant", RegionSettings(1, 3, 2.0, 0), views, blends)
        goals = Goals(vlm, shown, moments.features, wanted, 8, photos.pictures)
        return goals.wholes - 6, len(goals.inputs) - goals.wholes

    assert made(7, 1) == (12, 6)
    monkeypatch.setattr(goals_module, "MOST_BYTES", 1)
    monkeypatch.setattr(goals_module, "FEWEST", 3)
    assert made(12, 0) == (12, 0)
    assert made(24, 12) == (12, 6)
    assert made(24, 0) == (18, 0)


def test_variations_that_need_more_memory_are_held_in_half_precision_before_there_are_fewer(vlm, target, retained):
    moments, photos = measure(vlm, retained, NSCVF().moment_settings(0), NORMAL)
    shown = prepare(vlm, target, 8)
    single = sum(value.nbytes for value in shown.features.values.values())
    wanted = GoalSettings("discriminant", RegionSettings(1, 3, 2.0, 0), 6 * 40, 0)

    def made(most):
        return Goals(vlm, shown, moments.features, wanted, 8, photos.pictures, most=most)

    exact, half, fewer = made(40 * single), made(20 * single), made(10 * single)
    assert [goals.facts()["variations"] for goals in (exact, half, fewer)] == [240, 240, 120]
    assert [goals.original.values["projector"].dtype for goals in (exact, half)] == [torch.float32, torch.float16]
    every = torch.arange(246)
    one, other = (goals.goal(every).values["projector"] for goals in (exact, half))
    assert other.dtype == torch.float32
    torch.testing.assert_close(other, one, rtol=2e-3, atol=2e-3 * float(one.abs().mean()))
    vectors = moments.features.layout.vectors
    torch.testing.assert_close(half.each(vectors), vectors(half.before(every)))
    torch.testing.assert_close(half.each(vectors, there=True), vectors(half.goal(every)))


def test_the_target_comes_nearer_to_its_region_and_the_run_says_why_it_stopped(vlm, target, retained):
    edit = forget(
        vlm,
        target,
        retained,
        method=NSCVF(steps=50, batch=8, views=0, rate=0.1, distill=0, most_drift=10, stop_target=0),
    )
    assert edit.method["looks"][-1]["target"] < 0.7
    assert "step limit" in edit.stopped
    easy = NSCVF(steps=75, batch=4, views=0, composites=0, rate=1e-4, stop_target=2.0, stop_drift=2.0)
    early = forget(vlm, target, retained, method=easy)
    assert early.method["steps_made"] == 25
    assert "every bound was reached" in early.stopped


@pytest.mark.parametrize("criterion", ["energy", "centred", "rank", "kaiser"])
def test_a_hard_null_space_leaves_every_retained_direction_alone(criterion, vlm, target, retained):
    method = NSCVF(**QUICK, criterion=criterion, keep=0.9, weight_decay=0.1)
    moments, _ = measure(vlm, retained, method.moment_settings(0), NORMAL)
    edit = forget(vlm, target, retained, method=method)
    state = values(vlm)
    for layer, first in moments.first.items():
        gram = moments.grams[first]
        delta = (edit.weights[f"{layer}.weight"] - state[f"{layer}.weight"]).double()
        basis = retained_basis(gram, criterion, 0.9)
        assert (delta @ basis).norm() <= 1e-5 * state[f"{layer}.weight"].norm()


def test_without_the_null_space_the_retained_directions_do_move(vlm, target, retained):
    method = NSCVF(**QUICK, null_space=False)
    moments, _ = measure(vlm, retained, method.moment_settings(0), NORMAL)
    edit = forget(vlm, target, retained, method=method)
    layer, gram = next(iter(moments.grams.items()))
    delta = (edit.weights[f"{layer}.weight"] - values(vlm)[f"{layer}.weight"]).double()
    assert (delta @ retained_basis(gram, "kaiser", 0.9)).norm() > 1e-3


def test_moments_stand_in_for_retained_images(vlm, target, retained):
    method = NSCVF(**QUICK)
    moments, _ = measure(vlm, retained, method.moment_settings(0), NORMAL)
    edit = forget(vlm, target, method=method, moments=moments)
    assert edit.method["counted_images"] == len(retained)
    with pytest.raises(InputError, match="neither retained images nor moments"):
        forget(vlm, target, method=method)


def test_a_crossing_that_does_not_exist_is_refused_with_those_that_do(vlm, target, retained):
    with pytest.raises(InputError, match="there is no crossing nowhere; this model has projector"):
        forget(vlm, target, retained, method=NSCVF(**QUICK, crossings=("nowhere",)))
    moments, _ = measure(vlm, retained, NSCVF().moment_settings(0), NORMAL)
    with pytest.raises(InputError, match="moments are of the crossings projector"):
        forget(vlm, target, moments=moments, method=NSCVF(**QUICK, crossings=("nowhere",)))


def test_naming_every_crossing_is_naming_none(vlm, target, retained):
    edits = [forget(vlm, target, retained, method=NSCVF(**QUICK, crossings=names)) for names in ((), ("projector",))]
    assert all(torch.equal(value, edits[1].weights[name]) for name, value in edits[0].weights.items())


def test_pooled_images_can_be_forgotten_too(vlm, target, retained):
    edit = forget(
        vlm, target, retained, method=NSCVF(steps=50, batch=8, views=0, rate=0.03, distill=0, most_drift=10, runs=1)
    )
    assert edit.method["looks"][-1]["target"] < 0.9


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("reach", 0.0), ("temperature", -1.0), ("ridge", 0.0), ("keep", 1.5), ("steps", 0), ("batch", 0),
        ("share", 0.0), ("share", 1.5),
        ("directions", 0), ("rate", float("nan")), ("distill", -1.0), ("region", "nowhere"), ("criterion", "kiser"),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused_by_name(setting, value):
    with pytest.raises(InputError, match=setting):
        NSCVF(**{setting: value})


def test_a_loss_that_forgets_nothing_is_refused():
    with pytest.raises(InputError, match="nothing would be forgotten"):
        NSCVF(contrast=0, attract=0)


def test_with_moments_no_gram_is_measured_again(vlm, target, retained, monkeypatch):
    from unsee.moments import measure as module

    method = NSCVF(**QUICK)
    known, _ = measure(vlm, retained, method.moment_settings(0), plan("normal", 0))
    expected = forget(vlm, target, retained, method=method)
    monkeypatch.setattr(module, "retained_grams", lambda *_: pytest.fail("the Grams were measured again"))
    found = forget(vlm, target, retained, method=method, moments=known)
    assert all(torch.equal(found.weights[name], expected.weights[name]) for name in expected.weights)


def test_a_share_of_the_layers_is_counted_from_the_features_back(vlm, target, retained):
    few, half, whole = (
        forget(vlm, target, retained, method=NSCVF(**{**QUICK, "share": share})) for share in (1e-3, 0.5, 1.0)
    )
    layers = [layer.name for layer in whole.layers]
    assert [layer.name for layer in few.layers] == layers[-1:]
    assert [layer.name for layer in half.layers] == layers[len(layers) // 2 :]
    assert {f"{layer.name}.weight" for layer in few.layers} == set(few.weights)
