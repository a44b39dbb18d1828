"""Features: computed without the language model, with gradient to visual parameters alone, and exact Grams."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from unsee.models.checkpoint import Vlm
from unsee.models.features import (
    all_features,
    in_batches,
    retained_moments,
    shared_inputs,
    trainable_layers,
    visual_features,
)
from unsee.models.inputs import chat_inputs, image_inputs
from unsee.testing import images


@pytest.fixture(scope="module")
def inputs(vlm: Vlm) -> dict[str, Tensor]:
    return image_inputs(vlm, images(6, size=48))


@contextmanager
def requiring_gradient(vlm: Vlm) -> Iterator[dict[str, Tensor]]:
    """Every parameter of the model requires gradient; frozen again afterwards."""
    vlm.model.requires_grad_(True)
    try:
        yield dict(vlm.model.named_parameters())
    finally:
        vlm.model.requires_grad_(False)


def test_no_language_model_runs(vlm: Vlm, inputs: dict[str, Tensor]) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the language model ran")

    handle = vlm.model.get_decoder().register_forward_pre_hook(refuse)
    try:
        assert visual_features(vlm.model, inputs).shape == (6, 36, 32)
        with pytest.raises(AssertionError, match="ran"):  # the hook works
            vlm.model(**chat_inputs(vlm, [(images(1)[0], "Who is this?")]))
    finally:
        handle.remove()


def test_gradient_reaches_visual_parameters_alone(vlm: Vlm, inputs: dict[str, Tensor]) -> None:
    with requiring_gradient(vlm) as parameters:
        total = visual_features(vlm.model, inputs).square().sum()
        gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    reached = {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
    assert reached <= set(vlm.partition.visual)
    trained = trainable_layers(vlm.model, vlm.partition.linear, inputs)
    assert {f"{name}.weight" for name in trained} == reached & {f"{name}.weight" for name in vlm.partition.linear}
    assert not any(p.requires_grad for p in vlm.model.parameters())


def test_the_features_are_what_the_language_model_is_given(vlm: Vlm) -> None:
    chat = chat_inputs(vlm, [(images(1, size=48)[0], "Who is this?")])
    given: list[Tensor] = []
    handle = vlm.model.get_decoder().register_forward_pre_hook(
        lambda _, args, kwargs: given.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    try:
        vlm.model(**chat)
    finally:
        handle.remove()
    at = chat["input_ids"][0] == vlm.model.config.image_token_index
    expected = all_features(vlm.model, image_inputs(vlm, images(1, size=48)))[0]
    torch.testing.assert_close(given[0][0, at], expected)


def test_batches_do_not_change_the_features(vlm: Vlm, inputs: dict[str, Tensor]) -> None:
    assert [len(part["pixel_values"]) for part in in_batches(inputs, 4)] == [4, 2]
    torch.testing.assert_close(all_features(vlm.model, inputs, batch=4), visual_features(vlm.model, inputs))


def test_queries_keys_and_values_share_their_input(vlm: Vlm, inputs: dict[str, Tensor]) -> None:
    first = shared_inputs(vlm.model, vlm.partition.linear, inputs)
    attention = [name for name in first if name.endswith(("q_proj", "k_proj", "v_proj"))]
    assert len(attention) == 3 * vlm.model.config.vision_config.num_hidden_layers
    for name in attention:
        block = name.rpartition(".")[0]
        assert first[name].rpartition(".")[0] == block
    others = [name for name in first if name not in attention]
    assert all(first[name] == name for name in others)
    assert len(set(first.values())) == len(others) + len(attention) // 3


def test_grams_equal_a_direct_computation(vlm: Vlm, inputs: dict[str, Tensor]) -> None:
    layers = trainable_layers(vlm.model, vlm.partition.linear, inputs)
    grams = retained_moments(vlm.model, layers, in_batches(inputs, 4))
    assert grams.keys() == set(layers)
    modules = dict(vlm.model.named_modules())
    read: dict[str, Tensor] = {}
    handles = [
        modules[name].register_forward_pre_hook(lambda _, args, name=name: read.update({name: args[0].detach()}))
        for name in layers
    ]
    visual_features(vlm.model, inputs)
    for handle in handles:
        handle.remove()
    for name in layers:
        rows = read[name].flatten(0, -2).double()
        assert grams[name].count == len(rows)
        torch.testing.assert_close(grams[name].outer, rows.T @ rows, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(grams[name].total, rows.sum(0), rtol=1e-5, atol=1e-4)
    by_block: dict[str, set[int]] = {}
    for name in layers:
        if name.endswith(("q_proj", "k_proj", "v_proj")):
            by_block.setdefault(name.rpartition(".")[0], set()).add(id(grams[name]))
    assert by_block
    assert all(len(objects) == 1 for objects in by_block.values())
