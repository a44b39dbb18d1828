"""The partition of a model: disjoint, complete, and drawn where the language model begins."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, T5Gemma2Config, T5Gemma2ForConditionalGeneration

from unsee.errors import InputError
from unsee.models.checkpoint import Vlm
from unsee.models.locate import locate


def test_every_parameter_is_on_exactly_one_side(vlm: Vlm) -> None:
    partition, names = vlm.partition, [name for name, _ in vlm.model.named_parameters()]
    assert sorted(partition.visual + partition.protected) == sorted(names)
    assert len(set(partition.visual)) == len(partition.visual)
    assert partition.visual
    assert partition.protected


def test_the_language_model_and_its_embeddings_are_protected(vlm: Vlm) -> None:
    visual = {id(p) for name, p in vlm.model.named_parameters() if name in vlm.partition.visual}
    decoder, tied = vlm.model.get_decoder(), vlm.model.get_output_embeddings()
    assert not visual & {id(p) for module in (decoder, tied) for p in module.parameters()}


def test_groups_and_layers_belong_to_the_visual_side(vlm: Vlm) -> None:
    sizes = {name: p.numel() for name, p in vlm.model.named_parameters()}
    assert list(vlm.partition.groups) == ["model.vision_tower", "model.multi_modal_projector"]
    assert sum(vlm.partition.groups.values()) == sum(sizes[name] for name in vlm.partition.visual)
    assert {f"{name}.weight" for name in vlm.partition.linear} <= set(vlm.partition.visual)


def test_a_model_without_an_image_encoder_is_refused() -> None:
    config = LlamaConfig(vocab_size=8, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    with pytest.raises(InputError, match="some/folder holds a LlamaForCausalLM without a separate image encoder"):
        locate(LlamaForCausalLM(config), "some/folder")


def test_an_image_encoder_inside_that_of_the_text_is_refused() -> None:
    with torch.device("meta"):
        model = T5Gemma2ForConditionalGeneration(T5Gemma2Config())
    with pytest.raises(InputError, match="cannot be told apart from its image encoder"):
        locate(model, "some/folder")
