"""The outline of a visual part: found without a value, and the same that a real pass finds."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from unsee.models.checkpoint import Vlm, skeleton
from unsee.models.features import Inputs, visual_features
from unsee.models.inputs import image_inputs
from unsee.models.outline import Outline, hooked, last_layers, outline
from unsee.testing import images


@pytest.fixture(scope="module")
def inputs(vlm: Vlm) -> list[Inputs]:
    return image_inputs(vlm.processor, images(2, size=48))


@pytest.fixture(scope="module")
def routes(vlm: Vlm, inputs: list[Inputs]) -> Outline:
    return outline(vlm.outline, vlm.partition, inputs[0])


@pytest.fixture
def weights(vlm: Vlm) -> Iterator[dict[str, Tensor]]:
    """The weights of the visual linear layers, requiring gradient; frozen again afterwards."""
    modules = dict(vlm.model.named_modules())
    found = {name: modules[name].weight.requires_grad_(True) for name in vlm.partition.linear}
    yield found
    for weight in found.values():
        weight.requires_grad_(False)


def test_it_needs_no_value_and_leaves_the_model_frozen(vlm: Vlm, routes: Outline) -> None:
    assert all(p.is_meta and not p.requires_grad for p in vlm.outline.parameters())
    assert routes.trained


def test_the_trained_layers_are_those_that_a_gradient_reaches(
    vlm: Vlm, inputs: list[Inputs], routes: Outline, weights: dict[str, Tensor]
) -> None:
    features = visual_features(vlm.model, inputs[:1]).values["projector"]
    gradients = torch.autograd.grad(features.square().sum(), list(weights.values()), allow_unused=True)
    assert set(routes.trained) == {n for n, g in zip(weights, gradients, strict=True) if g is not None}


@pytest.mark.parametrize(("read", "behind"), [(-1, ()), (-2, (2,)), (-3, (1, 2))])
def test_a_layer_behind_the_last_feature_is_not_trained(
    read: int, behind: tuple[int, ...], vlm: Vlm, inputs: list[Inputs], tmp_path: Path
) -> None:
    config = json.loads((vlm.folder / "config.json").read_text()) | {"vision_feature_layer": read}
    (tmp_path / "config.json").write_text(json.dumps(config))
    _, empty, partition = skeleton(tmp_path)
    unread = set(partition.linear) - set(outline(empty, partition, inputs[0]).trained)
    assert unread == {name for name in partition.linear if any(f"layers.{layer}." in name for layer in behind)}
    assert bool(unread) == bool(behind)


def test_the_crossings_have_the_shapes_of_real_features(vlm: Vlm, inputs: list[Inputs], routes: Outline) -> None:
    values = visual_features(vlm.model, inputs).values
    assert routes.crossings == {name: tuple(value.shape[1:]) for name, value in values.items()}
    assert routes.crossings == {"projector": (36, 32)}


def test_layers_share_what_they_read_and_no_others(vlm: Vlm, inputs: list[Inputs], routes: Outline) -> None:
    modules = dict(vlm.model.named_modules())
    read: dict[str, Tensor] = {}
    with hooked((modules[name], lambda h, name=name: read.update({name: h})) for name in routes.trained):
        visual_features(vlm.model, inputs)
    for name, first in routes.first.items():
        assert read[name] is read[first]
        assert routes.first[first] == first
    assert len(set(routes.first.values())) == len({id(h) for h in read.values()})
    assert list(routes.first) == list(routes.trained)


def test_queries_keys_and_values_share_their_input(vlm: Vlm, routes: Outline) -> None:
    attention = [name for name in routes.first if name.endswith(("q_proj", "k_proj", "v_proj"))]
    blocks = vlm.model.config.vision_config.num_hidden_layers - 1  # the last one comes behind the features
    assert len(attention) == 3 * blocks
    for name in attention:
        assert routes.first[name].rpartition(".")[0] == name.rpartition(".")[0]
    others = [name for name in routes.first if name not in attention]
    assert all(routes.first[name] == name for name in others)
    assert len(set(routes.first.values())) == len(others) + len(attention) // 3


def test_a_hook_is_gone_afterwards_even_after_a_failure(vlm: Vlm, inputs: list[Inputs], routes: Outline) -> None:
    modules, seen = dict(vlm.model.named_modules()), list[Tensor]()
    with pytest.raises(ZeroDivisionError), hooked([(modules[routes.trained[0]], seen.append)]):
        raise ZeroDivisionError
    visual_features(vlm.model, inputs)
    assert not seen


def test_the_trained_layers_stand_in_the_order_in_which_they_run(
    vlm: Vlm, inputs: list[Inputs], routes: Outline
) -> None:
    modules, ran = dict(vlm.model.named_modules()), list[str]()
    with hooked((modules[name], lambda _, name=name: ran.append(name)) for name in sorted(routes.trained)):
        visual_features(vlm.model, inputs)
    assert ran == list(routes.trained)
    assert ran != sorted(ran)


def test_the_last_layers_are_counted_from_the_features_back() -> None:
    layers = [f"layer {number}" for number in range(10)]
    assert last_layers(layers, 1, 0.43) == layers[5:]
    assert last_layers(layers, 1, 1e-9) == layers[-1:]
    assert last_layers(layers, 1, 1.0) == last_layers(layers, 2, 0.43) == layers
