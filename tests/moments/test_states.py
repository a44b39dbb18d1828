"""States that stand for retained photos: what is drawn is like what was counted, and what was counted can be undone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from unsee import data
from unsee.forgetting.replay import Replay, replay
from unsee.linalg.discriminant import scatter
from unsee.models.checkpoint import Vlm
from unsee.models.features import visual_features
from unsee.models.outline import SHARE, last_layers
from unsee.moments import states as module
from unsee.moments.file import read, save
from unsee.moments.measure import measure, prepare
from unsee.moments.records import Moments, MomentSettings
from unsee.moments.states import States, entering, retained_states
from unsee.system.memory import plan

SETTINGS, NORMAL = MomentSettings(modes=2, seed=0), plan("normal", 1)


@pytest.fixture(scope="module")
def moments(vlm: Vlm, retained: Path) -> Moments:
    return measure(vlm, data.load(retained), SETTINGS, NORMAL, alone=True)[0]


def made(count: int = 400) -> tuple[Tensor, Tensor, States]:
    """States of three concepts with means far apart, and their sums."""
    generator, concept = torch.Generator().manual_seed(0), torch.arange(count) % 3
    centers = 5 * torch.randn(3, 2, 4, generator=generator)
    values = centers[concept] + torch.randn(count, 2, 4, generator=generator)
    return values, concept, States("layer", (2, 4), scatter(values.flatten(1), concept), concept)


def test_what_is_drawn_has_the_means_and_the_spread_of_what_was_counted() -> None:
    values, concept, known = made()
    drawn = known.drawn(3000, seed=1)
    assert drawn.shape == (3000, 2, 4)
    centers = torch.stack([values[concept == number].mean(0) for number in range(3)])
    nearest = torch.cdist(drawn.flatten(1), centers.flatten(1)).argmin(1)
    for number in range(3):
        own = drawn[nearest == number]
        assert 800 < len(own) < 1200
        torch.testing.assert_close(own.mean(0), centers[number], rtol=0, atol=0.15)
    within = (drawn - centers[nearest]).flatten(1)
    expected = (values - centers[concept]).flatten(1)
    torch.testing.assert_close(within.T.cov(), expected.T.cov(), rtol=0, atol=0.15)
    assert torch.equal(known.drawn(5, 1), known.drawn(5, 1))
    assert not torch.equal(known.drawn(5, 1), known.drawn(5, 2))


def test_a_concept_is_taken_out_exactly() -> None:
    values, concept, known = made()
    gone = torch.where(concept == 1)[0]
    left = known.without(values[gone], gone, concept != 1)
    assert left is not None
    others = values[concept != 1].flatten(1)
    assert left.sums.counts.tolist() == [134, 0, 133]
    assert left.concept.unique().tolist() == [0, 2]
    reduced = left.sums.reduced(others)
    torch.testing.assert_close(left.sums.outer, reduced.T @ reduced)
    torch.testing.assert_close(left.sums.sums[0], left.sums.reduced(values[concept == 0].flatten(1)).sum(0))
    centers = values[concept == 1].mean(0).flatten()
    assert float(torch.cdist(left.drawn(500, 0).flatten(1), centers[None]).min()) > 3
    more = torch.where(concept[concept != 1] == 2)[0]
    assert left.without(others[more].view(-1, 2, 4), more, concept[concept != 1] != 2) is None


def test_a_concept_of_few_photos_is_not_kept_because_its_mean_would_be_a_photo(vlm: Vlm, retained: Path) -> None:
    photos = prepare(vlm, data.load(retained), 8)
    layer = "model.multi_modal_projector.linear_2"
    inner = next(name for name in vlm.partition.linear if ".1." in name)
    assert retained_states(vlm.model, layer, photos.inputs, photos.concept, 8) is None  # in no block
    few = photos.concept.clone()
    few[few == 0] = torch.tensor([0, 0, 7])
    found = retained_states(vlm.model, inner, photos.inputs, few, 8)
    assert found is not None
    assert found.sums.counts.tolist() == [3, 3, 3]
    assert (found.concept == -1).tolist() == (photos.concept == 0).tolist()
    assert retained_states(vlm.model, inner, photos.inputs, torch.arange(12), 8) is None


def test_of_many_images_some_are_counted(vlm: Vlm, retained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = prepare(vlm, data.load(retained), 8)
    inner = next(name for name in vlm.partition.linear if ".1." in name)
    first = entering(vlm.model, inner, photos.inputs[:1], 1)
    assert first is not None
    monkeypatch.setattr(module, "STATE_BYTES", 24 * first.nbytes)
    found = retained_states(vlm.model, inner, photos.inputs * 4, photos.concept.repeat(4), 8)
    assert found is not None
    assert (found.concept >= 0).tolist() == [True, False] * 24


def test_a_file_keeps_them(vlm: Vlm, moments: Moments, tmp_path: Path) -> None:
    assert moments.states is not None
    layers = last_layers(list(moments.first), 1, SHARE)
    assert moments.states.layer == layers[0]
    save(moments, tmp_path / "moments.safetensors")
    again = read(tmp_path / "moments.safetensors", vlm).states
    assert again is not None
    assert (again.layer, again.shape) == (moments.states.layer, moments.states.shape)
    assert torch.equal(again.drawn(3, 0), moments.states.drawn(3, 0))
    assert torch.equal(again.concept, moments.states.concept)
    save(replace(moments, states=None), tmp_path / "moments.safetensors")
    assert read(tmp_path / "moments.safetensors", vlm).states is None


def drawn_states(vlm: Vlm, moments: Moments, image: dict[str, Tensor]) -> Replay:
    assert moments.states is not None
    found = replay(vlm.model, moments.states, image, 0, 64)
    assert found is not None
    return found


def test_the_model_makes_of_drawn_states_what_it_did_until_it_is_trained(
    vlm: Vlm, moments: Moments, retained: Path
) -> None:
    photos = prepare(vlm, data.load(retained), 8)
    found = drawn_states(vlm, moments, photos.inputs[0])
    places = torch.tensor([5, 0, 9])
    now = found.again(vlm.model, places)
    for name, value in now.values.items():
        torch.testing.assert_close(value, found.features[places].values[name], rtol=1e-4, atol=1e-5)
    whole = visual_features(vlm.model, photos.inputs[:1])  # nothing is left of the states
    for name, value in whole.values.items():
        torch.testing.assert_close(value, photos.features[:1].values[name], rtol=1e-4, atol=1e-5)


def test_real_states_give_real_features(vlm: Vlm, moments: Moments, retained: Path) -> None:
    photos = prepare(vlm, data.load(retained), 8)
    found = drawn_states(vlm, moments, photos.inputs[0])
    assert moments.states is not None
    states = entering(vlm.model, moments.states.layer, photos.inputs, 8)
    assert states is not None
    again = replace(found, states=states).again(vlm.model, torch.arange(len(states)))
    for name, value in again.values.items():
        torch.testing.assert_close(value, photos.features.values[name], rtol=1e-4, atol=1e-5)


def test_images_of_another_size_draw_nothing(vlm: Vlm, moments: Moments, retained: Path) -> None:
    assert moments.states is not None
    other = replace(moments.states, shape=(3, moments.states.shape[1]))
    image = prepare(vlm, data.load(retained)[:1], 8).inputs[0]
    assert replay(vlm.model, other, image, 0, 8) is None
