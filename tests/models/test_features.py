"""Features: computed without the language model, with gradient to visual parameters alone, padded where needed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from unsee.errors import InputError
from unsee.models.checkpoint import Vlm
from unsee.models.features import Inputs, all_features, in_batches, joined, visual_features
from unsee.models.inputs import chat_inputs, image_inputs
from unsee.models.outline import outline
from unsee.moments.measure import retained_grams
from unsee.system.memory import plan
from unsee.testing import images


@pytest.fixture(scope="module")
def inputs(vlm: Vlm) -> list[Inputs]:
    return image_inputs(vlm.processor, images(6, size=48))


@contextmanager
def requiring_gradient(whole: Vlm) -> Iterator[dict[str, Tensor]]:
    """Every parameter of the model requires gradient; frozen again afterwards."""
    whole.model.requires_grad_(True)
    try:
        yield dict(whole.model.named_parameters())
    finally:
        whole.model.requires_grad_(False)


def test_no_language_model_runs(whole: Vlm, inputs: list[Inputs]) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the language model ran")

    handle = whole.model.get_decoder().register_forward_pre_hook(refuse)
    try:
        assert visual_features(whole.model, inputs).values["projector"].shape == (6, 36, 32)
        with pytest.raises(AssertionError, match="ran"):  # the hook works
            whole.model(**chat_inputs(whole, [(images(1)[0], "Who is this?")]))
    finally:
        handle.remove()


def test_gradient_reaches_visual_parameters_alone(whole: Vlm, vlm: Vlm, inputs: list[Inputs]) -> None:
    with requiring_gradient(whole) as parameters:
        total = visual_features(whole.model, inputs).values["projector"].square().sum()
        gradients = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    reached = {name for name, gradient in zip(parameters, gradients, strict=True) if gradient is not None}
    assert reached <= set(vlm.partition.visual)
    trained = outline(vlm.outline, vlm.partition, inputs[0]).trained
    assert {f"{name}.weight" for name in trained} == reached & {f"{name}.weight" for name in vlm.partition.linear}
    assert not any(p.requires_grad for p in vlm.outline.parameters())


def test_the_features_are_what_the_language_model_is_given(whole: Vlm, vlm: Vlm) -> None:
    chat = chat_inputs(vlm, [(images(1, size=48)[0], "Who is this?")])
    given: list[Tensor] = []
    handle = whole.model.get_decoder().register_forward_pre_hook(
        lambda _, args, kwargs: given.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    try:
        whole.model(**chat)
    finally:
        handle.remove()
    at = chat["input_ids"][0] == vlm.model.config.image_token_index
    expected = all_features(vlm.model, image_inputs(vlm.processor, images(1, size=48))).values["projector"][0]
    torch.testing.assert_close(given[0][0, at], expected)


def test_batches_do_not_change_the_features(vlm: Vlm, inputs: list[Inputs]) -> None:
    assert [len(part) for part in in_batches(inputs, 4)] == [4, 2]
    some, whole = all_features(vlm.model, inputs, batch=4), visual_features(vlm.model, inputs)
    torch.testing.assert_close(some.values, whole.values)
    assert all(torch.equal(some.counts[name], whole.counts[name]) for name in whole.counts)


def test_joining_pads_and_choosing_keeps_the_counts(vlm: Vlm, inputs: list[Inputs]) -> None:
    short = visual_features(vlm.model, inputs[:2])
    value, count = short.values["projector"][:, :30], torch.tensor([30, 30])
    cut = type(short)({"projector": value}, {"projector": count})
    both = joined([cut, short])
    assert both.values["projector"].shape[1] == 36
    assert both.counts["projector"].tolist() == [30, 30, 36, 36]
    assert both.values["projector"][:2, 30:].abs().sum() == 0
    assert len(both[torch.tensor([0, 3])]) == 2
    assert both[torch.tensor([0, 3])].counts["projector"].tolist() == [30, 36]


def test_an_unknown_crossing_is_refused(vlm: Vlm, inputs: list[Inputs]) -> None:
    with pytest.raises(InputError, match="no crossing nowhere; this model has projector"):
        visual_features(vlm.model, inputs[:1]).only(["nowhere"])


def test_the_outline_needs_no_values(vlm: Vlm, inputs: list[Inputs]) -> None:
    assert all(parameter.is_meta for parameter in vlm.outline.parameters())
    assert outline(vlm.outline, vlm.partition, inputs[0]) == outline(vlm.model, vlm.partition, inputs[0])


def test_queries_keys_and_values_share_their_input(vlm: Vlm, inputs: list[Inputs]) -> None:
    first = outline(vlm.outline, vlm.partition, inputs[0]).first
    attention = [name for name in first if name.endswith(("q_proj", "k_proj", "v_proj"))]
    blocks = vlm.model.config.vision_config.num_hidden_layers - 1  # the last one comes behind the features
    assert len(attention) == 3 * blocks
    for name in attention:
        block = name.rpartition(".")[0]
        assert first[name].rpartition(".")[0] == block
    others = [name for name in first if name not in attention]
    assert all(first[name] == name for name in others)
    assert len(set(first.values())) == len(others) + len(attention) // 3


def test_grams_equal_a_direct_computation(vlm: Vlm, inputs: list[Inputs]) -> None:
    layers = list(outline(vlm.outline, vlm.partition, inputs[0]).trained)
    grams = retained_grams(vlm, inputs, layers, plan("normal", 0))
    assert set(grams) == set(layers)
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
