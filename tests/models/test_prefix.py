"""What runs before the first trained layer is run once, and nothing else changes."""

import pytest
import torch

from unsee.models.checkpoint import Vlm
from unsee.models.features import Inputs, visual_features
from unsee.models.inputs import image_inputs
from unsee.models.outline import outline
from unsee.models.prefix import prefix, prefix_states
from unsee.testing import images


@pytest.fixture(scope="module")
def inputs(vlm: Vlm) -> list[Inputs]:
    return image_inputs(vlm.processor, images(5, size=48))


@pytest.fixture(scope="module")
def second(vlm: Vlm, inputs: list[Inputs]) -> str:
    """The first layer of the second block."""
    return next(name for name in outline(vlm.outline, vlm.partition, inputs[0]).trained if "layers.1." in name)


def test_features_are_the_same_whatever_comes_before(vlm: Vlm, inputs: list[Inputs], second: str) -> None:
    found = prefix_states(vlm.model, second, inputs, 2)
    assert found is not None
    known, states = found
    assert len(states) == 5
    chosen = [inputs[place] for place in (3, 0, 4)]
    expected = visual_features(vlm.model, chosen).values["projector"]
    empty = [{name: torch.zeros_like(value) for name, value in image.items()} for image in chosen]
    with known.given(known.joined([states[place] for place in (3, 0, 4)])):
        assert torch.equal(visual_features(vlm.model, empty).values["projector"], expected)
    assert not torch.equal(visual_features(vlm.model, empty).values["projector"], expected)  # all is as it was
    assert torch.equal(visual_features(vlm.model, chosen).values["projector"], expected)


def test_blocks_that_no_feature_comes_from_do_not_run(vlm: Vlm, inputs: list[Inputs], second: str) -> None:
    last = vlm.model.get_submodule(second.rpartition("layers.")[0] + "layers")[-1]
    ran = list[bool]()
    handle = last.get_submodule("mlp").register_forward_hook(lambda *_: ran.append(True))
    try:
        found = prefix_states(vlm.model, second, inputs, 4)
        assert found is not None
        expected = visual_features(vlm.model, inputs).values["projector"]
        ran.clear()
        with found[0].given(found[0].joined(found[1])):
            assert torch.equal(visual_features(vlm.model, inputs).values["projector"], expected)
    finally:
        handle.remove()
    assert found[0].idle == (last,)  # of LLaVA's, whose features are those of the last block but one
    assert not ran


def test_the_gradient_of_what_comes_after_is_the_same(vlm: Vlm, inputs: list[Inputs], second: str) -> None:
    found = prefix_states(vlm.model, second, inputs, 4)
    assert found is not None
    weight = dict(vlm.model.named_modules())[second].weight.requires_grad_(True)
    try:
        (expected,) = torch.autograd.grad(visual_features(vlm.model, inputs).values["projector"].square().sum(), weight)
        with found[0].given(found[0].joined(found[1])):
            features = visual_features(vlm.model, inputs).values["projector"]
        (gradient,) = torch.autograd.grad(features.square().sum(), weight)
    finally:
        weight.requires_grad_(False)
    assert torch.equal(gradient, expected)
    assert expected.abs().sum() > 0


def test_there_is_none_where_it_would_not_do(
    vlm: Vlm, inputs: list[Inputs], second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prefix(vlm.model, second.replace("layers.1.", "layers.0.")) is None
    assert prefix_states(vlm.model, "model.multi_modal_projector.linear_1", inputs, 2) is None
    assert prefix_states(vlm.model, second, [], 2) is None
    monkeypatch.setattr(vlm.model.config, "vision_feature_layer", -3)  # an earlier block is read
    assert prefix_states(vlm.model, second, inputs, 2) is None
    monkeypatch.undo()
    assert prefix_states(vlm.model, second, inputs, 2, most=100) is None
