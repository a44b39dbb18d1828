"""Builders of models that see a picture through latents, queries or cross-attention."""

from collections.abc import Callable
from typing import Any

import transformers as hf
from transformers import PreTrainedTokenizerFast, ProcessorMixin
from zoo_parts import (
    CHAT,
    IMAGE,
    SIDE,
    SQUARE,
    STD,
    VISION,
    WIDTH,
    Built,
    assemble,
    chat,
    open_gates,
    opt,
    text,
    tokenizer,
)


def idefics() -> Built:
    """IDEFICS: gated cross-attention to the latents of a resampler."""
    tokens = tokenizer(IMAGE, ["<fake_token_around_image>", "<end_of_utterance>"])
    processor = hf.IdeficsProcessor(hf.IdeficsImageProcessor(image_size=SIDE), tokens, image_size=SIDE)
    perceiver = {"resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 4, "resampler_head_dim": 8}
    config = hf.IdeficsConfig(
        **text(processor),
        vision_config={**VISION, "embed_dim": 32},
        perceiver_config=perceiver,
        use_resampler=True,
        cross_layer_interval=1,
        additional_vocab_size=0,
        alpha_type="float",
        alpha_initializer="ones",  # zeros hide the picture
    )
    return hf.IdeficsForVisionText2Text(config), processor


def idefics2() -> Built:
    """Idefics2: pictures keep their shape, a perceiver makes four tokens of each."""
    names = {"image_token": "<image>", "image_boundary_token": "<fake_token_around_image>"}
    tokens = tokenizer(names, ["<end_of_utterance>"])
    sides = {"shortest_edge": SIDE, "longest_edge": 2 * SIDE}
    images = hf.Idefics2ImageProcessor(size=sides, do_image_splitting=False)
    processor = hf.Idefics2Processor(images, tokens, 4, CHAT)
    perceiver = {"hidden_size": 32, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 4}
    perceiver |= {"resampler_head_dim": 8, "num_key_value_heads": 2, "initializer_range": STD}
    vision = {**VISION, "image_size": 2 * SIDE}
    rest = {"perceiver_config": perceiver, "image_token_id": tokens.image_token_id}
    return assemble(hf.Idefics2ForConditionalGeneration, processor, vision, "mistral", **rest)


def mllama() -> Built:
    """Llama 3.2 Vision: gated cross-attention to the tiles."""
    tokens = tokenizer({"image_token": "<|image|>"}, ["<|python_tag|>"])
    images = hf.MllamaImageProcessor(size=SQUARE, max_image_tiles=2)
    processor = hf.MllamaProcessor(images, tokens, chat("<|image|>"))
    vision = {**VISION, "attention_heads": 4, "num_global_layers": 1, "intermediate_layers_indices": [0]}
    vision |= {"vision_output_dim": 64, "max_num_tiles": 2, "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]]}
    rope = {"rope_type": "default", "rope_theta": 1e4}
    language = text(processor, num_hidden_layers=3, cross_attention_layers=[1], rope_parameters=rope)
    place = {"image_token_index": tokens.image_token_id}
    model, _ = assemble(hf.MllamaForConditionalGeneration, processor, vision, language, **place)
    open_gates(model, "_gate", ".gate", ".gate_attn", ".gate_ffn")
    return model, processor


def former(tokens: PreTrainedTokenizerFast) -> dict[str, Any]:
    """Arguments of a two-layer Q-Former."""
    return {**WIDTH, "num_hidden_layers": 2, "encoder_hidden_size": 32, "vocab_size": len(tokens)}


def blip2() -> Built:
    """BLIP-2: the tokens of a Q-Former come first."""
    tokens = tokenizer({}, ["<image>"])
    processor = hf.Blip2Processor(hf.BlipImageProcessor(size=SQUARE), tokens, num_query_tokens=4)
    rest = {"qformer_config": former(tokens), "num_query_tokens": 4}
    rest["image_token_index"] = tokens.convert_tokens_to_ids("<image>")
    return assemble(hf.Blip2ForConditionalGeneration, processor, VISION, opt(processor), **rest)


def instruct(language: Callable[[ProcessorMixin], dict[str, Any]]) -> Built:
    """InstructBLIP with a language model: its Q-Former reads the question too."""
    tokens, reader = tokenizer({}, ["<image>"]), tokenizer({})
    processor = hf.InstructBlipProcessor(hf.BlipImageProcessor(size=SQUARE), tokens, reader, num_query_tokens=4)
    rest = {"qformer_config": former(reader), "num_query_tokens": 4}
    rest["image_token_index"] = tokens.convert_tokens_to_ids("<image>")
    return assemble(hf.InstructBlipForConditionalGeneration, processor, VISION, language(processor), **rest)


def instructblip() -> Built:
    """InstructBLIP with Vicuna."""
    return instruct(lambda processor: text(processor, model_type="llama"))


def instructblip_opt() -> Built:
    """InstructBLIP with OPT."""
    return instruct(opt)


def instructblip_t5() -> Built:
    """InstructBLIP with T5: forward needs `decoder_input_ids`."""
    width = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
    return instruct(lambda processor: text(processor, model_type="t5", **width))


def kosmos2() -> Built:
    """Kosmos-2: 64 latents for each picture."""
    processor = hf.Kosmos2Processor(hf.CLIPImageProcessor(size=SQUARE, crop_size=SQUARE), tokenizer({}), 16)
    language = text(processor, embed_dim=32, layers=2, ffn_dim=64, attention_heads=4, init_std=STD)
    places = {"latent_query_num": 64}  # as many as the processor leaves for a picture
    return assemble(hf.Kosmos2ForConditionalGeneration, processor, VISION, language, **places)
