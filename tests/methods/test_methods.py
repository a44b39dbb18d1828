"""Contracts that every method in METHODS keeps, on a tiny random model."""

import dataclasses
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest
import torch

from unsee import api
from unsee.errors import InputError
from unsee.forgetting import by_features
from unsee.forgetting import goals as goals_module
from unsee.forgetting.confined import ConfinedWeight
from unsee.forgetting.depths import Levels
from unsee.forgetting.goals import Goals, GoalSettings
from unsee.forgetting.hardening import Hardening
from unsee.forgetting.regions import RegionSettings, belonging
from unsee.linalg.subspace import retained_basis
from unsee.methods import METHODS, NSCVF
from unsee.models.checkpoint import Vlm, load, visual_parameters
from unsee.models.features import all_features, visual_features
from unsee.models.inputs import image_inputs
from unsee.models.prefix import prefix_states
from unsee.moments.measure import measure, prepare
from unsee.records import Sample
from unsee.system.memory import UNBOUNDED, Memory, plan
from unsee.testing import images, tiny_checkpoint

QUICK = {"steps": 6, "batch": 4, "views": 1, "rate": 1e-2, "share": 1.0}
NORMAL = plan("normal", 0)
BASELINE = {"steps": 2, "batch": 4, "tokens": 2}
FEW = {
    "nscvf": QUICK,
    "closed_form": {"sweeps": 2, "views": 1},
    "streaming": QUICK,
    "rmu": {"steps": 2, "batch": 4},
} | {name: BASELINE for name, method in METHODS.items() if method.language}
FEW["manu"] = {"tokens": 2, "share": 0.1}
TURNS = Memory(images=2, grams=40_000, weights=12_000, frugal=True)  # layers of the tiny model take three turns


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Vlm:
    return load(tiny_checkpoint(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def whole(vlm: Vlm) -> Vlm:
    return load(vlm.folder, language=True)


@pytest.fixture
def opened(method, vlm, whole):
    """The model as the method needs it."""
    return whole if method.language else vlm


@pytest.fixture(scope="module")
def target() -> list[Sample]:
    return [Sample(image, "target") for image in images(6, seed=1)]


@pytest.fixture(scope="module")
def retained() -> list[Sample]:
    return [Sample(image, f"other {number % 4}") for number, image in enumerate(images(24, seed=2))]


@pytest.fixture
def in_turns(monkeypatch):
    """Low memory for models as small as these."""
    monkeypatch.setattr(by_features, "plan", lambda mode, visual: TURNS if mode == "low" else plan(mode, visual))


def values(vlm):
    return {name: value.detach().clone() for name, value in visual_parameters(vlm.model, vlm.partition).items()}


def unmoved(vlm, before):
    """Whether a model is as it was opened: its visual values, nothing to train, nothing else read."""
    parameters = dict(vlm.model.named_parameters())
    return (
        all(torch.equal(parameters[name], value) for name, value in before.items())
        and len({parameters[name].is_meta for name in vlm.partition.protected}) == 1
        and not any(parameter.requires_grad or parameter.grad is not None for parameter in parameters.values())
        and not any(module.training for module in vlm.model.modules())
        and not any(module._forward_pre_hooks for module in vlm.model.modules())
    )


def interrupted(at):
    """A progress that interrupts its run when it is called for the time `at`."""
    calls = []

    def progress(done, total, text):
        calls.append(done)
        if len(calls) == at:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_only_visual_weights_move_and_the_model_is_left_as_it_was(method, opened, target, retained):
    before = values(opened)
    edit = api.forget(opened, target, retained, method=method(**FEW[method.name]))
    assert set(edit.weights) <= set(opened.partition.visual)
    assert any(not torch.equal(value, before[name]) for name, value in edit.weights.items())
    assert unmoved(opened, before)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_run_that_is_cut_off_leaves_the_model_as_it_was(method, opened, target, retained):
    before = values(opened)
    with pytest.raises(KeyboardInterrupt):
        api.forget(opened, target, retained, method=method(**FEW[method.name]), progress=interrupted(1))
    assert unmoved(opened, before)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(method, opened, target, retained):
    runs = [
        api.forget(opened, target, retained, method=method(**FEW[method.name]), seed=seed).weights for seed in (3, 3, 4)
    ]
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])
    drawn = method.name != "manu"  # it draws nothing where there are few retained photos
    assert drawn == any(not torch.equal(runs[0][name], runs[2][name]) for name in runs[0])


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_language_model_runs_where_a_method_says_so_alone(method, opened, target, retained, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise RuntimeError("the language model ran")

    monkeypatch.setattr(opened.model.model.language_model, "forward", refuse)
    with pytest.raises(RuntimeError, match="the language model ran") if method.language else nullcontext():
        api.forget(opened, target, retained, method=method(**FEW[method.name]))


def test_a_run_is_the_same_where_the_frozen_blocks_run_in_every_step(vlm, target, retained, monkeypatch):
    method = NSCVF(**QUICK | {"share": 0.5})
    used = []

    def spied(*args):
        used.append(prefix_states(*args))
        return used[-1]

    monkeypatch.setattr(by_features, "prefix_states", spied)
    once = api.forget(vlm, target, retained, method=method).weights
    monkeypatch.setattr(by_features, "prefix_states", lambda *_: None)
    always = api.forget(vlm, target, retained, method=method).weights
    assert used[0] is not None
    assert all(torch.equal(once[name], always[name]) for name in always)


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


def test_what_a_hardened_run_forgets_does_not_come_back_with_the_last_layers(vlm, target, retained):
    """With the last layers put back, the target's features are further from where they were than without hardening."""
    apart = {}
    for harden in (0.0, 1.0):
        settings = NSCVF(steps=50, batch=8, views=0, rate=1e-3, distill=0, share=1.0, stop_target=0, harden=harden)
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
        settings = NSCVF(steps=60, batch=8, views=0, rate=1e-3, distill=0, share=1.0, resist=resist, tamper=0.003)
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
    layers = [name for name, module in vlm.model.named_modules() if isinstance(module, torch.nn.Linear)]
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
    settings = NSCVF(steps=40, batch=8, views=0, rate=1e-3, distill=0, share=1.0, depths=1.0)
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


def test_a_blend_goes_as_far_as_it_is_of_the_target(vlm, target, retained):
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


def test_the_target_comes_nearer_to_its_region_and_the_run_says_why_it_stopped(vlm, target, retained):
    edit = api.forget(
        vlm, target, retained, method=NSCVF(steps=50, batch=8, views=0, rate=1e-3, distill=0, stop_target=0)
    )
    assert edit.method["looks"][-1]["target"] < 0.7
    assert "step limit" in edit.stopped
    easy = NSCVF(steps=75, batch=4, views=0, rate=1e-4, stop_target=2.0, stop_drift=2.0)
    early = api.forget(vlm, target, retained, method=easy)
    assert early.method["steps_made"] == 25
    assert "every bound was reached" in early.stopped


@pytest.mark.parametrize("criterion", ["energy", "centred", "rank", "kaiser"])
def test_a_hard_null_space_leaves_every_retained_direction_alone(criterion, vlm, target, retained):
    method = NSCVF(**QUICK, criterion=criterion, keep=0.9, weight_decay=0.1)
    moments, _ = measure(vlm, retained, method.moment_settings(0), NORMAL)
    edit = api.forget(vlm, target, retained, method=method)
    state = values(vlm)
    for layer, first in moments.first.items():
        gram = moments.grams[first]
        delta = (edit.weights[f"{layer}.weight"] - state[f"{layer}.weight"]).double()
        basis = retained_basis(gram, criterion, 0.9)
        assert (delta @ basis).norm() <= 1e-5 * state[f"{layer}.weight"].norm()


def test_without_the_null_space_the_retained_directions_do_move(vlm, target, retained):
    method = NSCVF(**QUICK, null_space=False)
    moments, _ = measure(vlm, retained, method.moment_settings(0), NORMAL)
    edit = api.forget(vlm, target, retained, method=method)
    layer, gram = next(iter(moments.grams.items()))
    delta = (edit.weights[f"{layer}.weight"] - values(vlm)[f"{layer}.weight"]).double()
    assert (delta @ retained_basis(gram, "kaiser", 0.9)).norm() > 1e-3


def test_moments_stand_in_for_retained_images(vlm, target, retained):
    method = NSCVF(**QUICK)
    moments, _ = measure(vlm, retained, method.moment_settings(0), NORMAL)
    edit = api.forget(vlm, target, method=method, moments=moments)
    assert edit.method["retained_images"] == len(retained)
    with pytest.raises(InputError, match="neither retained images nor moments"):
        api.forget(vlm, target, method=method)


def test_low_memory_moves_layers_in_turns_and_leaves_the_model_as_it_was(vlm, target, retained, in_turns):
    before, made = values(vlm), []
    trained = by_features.train

    def noted(weights, *args, **kwargs):
        made.append(list(weights))
        return trained(weights, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(by_features, "train", noted)
        edit = api.forget(vlm, target, retained, method=NSCVF(**QUICK), memory="low")
    assert len(made) == 3
    assert all(sum(before[f"{name}.weight"].numel() for name in names) <= TURNS.weights for names in made)
    assert {f"{name}.weight" for names in made for name in names} == set(edit.weights)
    assert sum(map(len, made)) == len(edit.weights) == len(edit.layers)
    moved = {name for name, value in edit.weights.items() if not torch.equal(value, before[name])}
    assert all(any(f"{name}.weight" in moved for name in names) for names in made)
    assert edit.method["steps_made"] == QUICK["steps"]
    assert unmoved(vlm, before)
    again = api.forget(vlm, target, retained, method=NSCVF(**QUICK), memory="low")
    assert all(torch.equal(value, again.weights[name]) for name, value in edit.weights.items())


def test_low_memory_forgets_too(vlm, target, retained, in_turns):
    method = NSCVF(steps=60, batch=8, views=0, rate=2e-3, distill=0)
    edit = api.forget(vlm, target, retained, method=method, memory="low")
    assert edit.method["looks"][-1]["target"] < 0.8
    assert edit.method["memory"] == "low"


def test_low_memory_leaves_no_file(vlm, target, retained, in_turns, tmp_path):
    api.forget(vlm, target, retained, method=NSCVF(**QUICK), memory="low", state=tmp_path / "state.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state_0.pt", "state_1.pt", "state_2.pt"]


def test_an_unknown_memory_mode_is_refused(vlm, target, retained):
    with pytest.raises(InputError, match="unknown memory mode 'lwo': did you mean 'low'"):
        api.forget(vlm, target, retained, memory="lwo")


@pytest.mark.parametrize("frugal", [False, True])
def test_a_step_in_parts_has_the_gradients_of_the_whole_step(frugal, vlm, target, retained, monkeypatch):
    parts = Memory(images=2, grams=UNBOUNDED, weights=UNBOUNDED, frugal=frugal)
    gradients, pull = [], ConfinedWeight.pull

    def noted(self):
        gradients.append(self.weight.grad.clone())
        pull(self)

    monkeypatch.setattr(ConfinedWeight, "pull", noted)
    method, found, edits = NSCVF(steps=1, batch=5, views=1), [], []
    for bounds in (NORMAL, parts):
        monkeypatch.setattr(by_features, "plan", lambda mode, visual, bounds=bounds: bounds)
        edits.append(api.forget(vlm, target, retained, method=method))
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
    monkeypatch.setattr(by_features, "LOOK_EVERY", 2)
    method, state = NSCVF(steps=12, batch=4, views=1, rate=1e-2, stop_target=0, stop_drift=0), tmp_path / "state.pt"
    whole = api.forget(vlm, target, retained, method=method, memory=memory)
    with pytest.raises(KeyboardInterrupt):
        api.forget(vlm, target, retained, method=method, memory=memory, state=state, progress=interrupted(died))
    calls = []
    again = api.forget(
        vlm, target, retained, method=method, memory=memory, state=state, progress=lambda *now: calls.append(now)
    )
    assert 0 < len(calls) < len(whole.method["looks"])
    assert again.weights.keys() == whole.weights.keys()
    assert all(torch.equal(value, again.weights[name]) for name, value in whole.weights.items())
    assert again.method == whole.method
    assert again.layers == whole.layers


def test_a_state_of_another_run_is_refused(vlm, target, retained, monkeypatch, tmp_path):
    state = tmp_path / "state.pt"
    api.forget(vlm, target, retained, method=NSCVF(**QUICK), state=state)
    for other in ({"seed": 1}, {"method": NSCVF(**QUICK, reach=1.5)}, {"memory": "low"}):
        with pytest.raises(InputError, match="belongs to a run with other settings, photos or model"):
            api.forget(vlm, target, retained, **({"method": NSCVF(**QUICK)} | other), state=state)


@pytest.mark.parametrize("memory", ["normal", "low"])
def test_a_run_that_diverges_is_refused_and_leaves_the_model_as_it_was(memory, vlm, target, retained, in_turns):
    before = values(vlm)
    try:
        with pytest.raises(InputError, match="rate"):
            api.forget(vlm, target, retained, method=NSCVF(steps=3, batch=2, views=0, rate=1e25), memory=memory)
    finally:
        assert unmoved(vlm, before)


def test_a_crossing_that_does_not_exist_is_refused_with_those_that_do(vlm, target, retained):
    with pytest.raises(InputError, match="there is no crossing nowhere; this model has projector"):
        api.forget(vlm, target, retained, method=NSCVF(**QUICK, crossings=("nowhere",)))
    moments, _ = measure(vlm, retained, NSCVF().moment_settings(0), NORMAL)
    with pytest.raises(InputError, match="moments are of the crossings projector"):
        api.forget(vlm, target, moments=moments, method=NSCVF(**QUICK, crossings=("nowhere",)))


def test_naming_every_crossing_is_naming_none(vlm, target, retained):
    edits = [
        api.forget(vlm, target, retained, method=NSCVF(**QUICK, crossings=names)) for names in ((), ("projector",))
    ]
    assert all(torch.equal(value, edits[1].weights[name]) for name, value in edits[0].weights.items())


def test_pooled_images_can_be_forgotten_too(vlm, target, retained):
    edit = api.forget(vlm, target, retained, method=NSCVF(steps=50, batch=8, views=0, rate=1e-3, distill=0, runs=1))
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


def test_methods_are_frozen_dataclasses_listed_by_their_name():
    for name, method in METHODS.items():
        assert method.name == name
        with pytest.raises(dataclasses.FrozenInstanceError):
            method().name = "other"


def test_with_moments_no_gram_is_measured_again(vlm, target, retained, monkeypatch):
    from unsee.moments import measure as module

    method = NSCVF(**QUICK)
    known, _ = measure(vlm, retained, method.moment_settings(0), plan("normal", 0))
    expected = api.forget(vlm, target, retained, method=method)
    monkeypatch.setattr(module, "retained_grams", lambda *_: pytest.fail("the Grams were measured again"))
    found = api.forget(vlm, target, retained, method=method, moments=known)
    assert all(torch.equal(found.weights[name], expected.weights[name]) for name in expected.weights)


def test_a_share_of_the_layers_is_counted_from_the_features_back(vlm, target, retained):
    few, half, whole = (
        api.forget(vlm, target, retained, method=NSCVF(**{**QUICK, "share": share})) for share in (1e-3, 0.5, 1.0)
    )
    layers = [layer.name for layer in whole.layers]
    assert [layer.name for layer in few.layers] == layers[-1:]
    assert [layer.name for layer in half.layers] == layers[len(layers) // 2 :]
    assert {f"{layer.name}.weight" for layer in few.layers} == set(few.weights)
