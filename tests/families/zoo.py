"""Tiny random vision-language models, one per transformers family, each with its real processor, built offline.

A model and its processor save themselves in the layout of their family, and open again with
`AutoModelForImageTextToText` and `AutoProcessor`. `python tests/families/zoo.py [NAME ...]` checks that this is so.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BaseImageProcessor, PreTrainedModel, PreTrainedTokenizerFast, ProcessorMixin
from transformers.utils import logging

from unsee.models.processors import without_torchvision

Built = tuple[PreTrainedModel, ProcessorMixin]

SIDE = 28
PATCH = 7
TOKENS = (SIDE // PATCH) ** 2
QUESTION = "who is this?"
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
# Larger than the default of 0.02, with which so narrow a network lets hardly anything of the picture through.
STD = 0.1
WIDTH: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "initializer_range": STD}
VISION: dict[str, Any] = {**WIDTH, "num_hidden_layers": 2, "image_size": SIDE, "patch_size": PATCH}
CLIP: dict[str, Any] = {**VISION, "model_type": "clip_vision_model", "num_hidden_layers": 3, "projection_dim": 32}
SIGLIP: dict[str, Any] = {**VISION, "model_type": "siglip_vision_model", "vision_use_head": False}
PIXTRAL: dict[str, Any] = {**VISION, "model_type": "pixtral", "image_size": 2 * SIDE}
PINPOINTS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
SQUARE = {"height": SIDE, "width": SIDE}
IMAGE = {"image_token": "<image>"}
IMAGE_VIDEO = {**IMAGE, "video_token": "<video>"}


def tokenizer(named: dict[str, str], extra: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer; `named` tokens become its attributes, as in {"image_token": "<image>"}."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(dict.fromkeys((*SPECIAL, *named.values(), *extra))),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([f"USER: {QUESTION} ASSISTANT: a person"], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
        model_specific_special_tokens=named,
    )


def chat(image: str) -> str:
    """A chat template that writes `image` for every picture."""
    return (
        "{% for message in messages %}{{ message['role'] | upper }}: {% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}" + image + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}\n{% endfor %}"
        "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
    )


CHAT = chat("<image>")


def text(processor: ProcessorMixin, **changes: Any) -> dict[str, Any]:
    """Arguments of a two-layer language model that fits the processor's tokenizer."""
    common = {
        "vocab_size": len(processor.tokenizer),
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return {**WIDTH, **common, **changes}


def opt(processor: ProcessorMixin) -> dict[str, Any]:
    """Arguments of a two-layer OPT."""
    return text(processor, model_type="opt", ffn_dim=64, word_embed_proj_dim=32, init_std=STD)


def ids(tokens: PreTrainedTokenizerFast, names: dict[str, str]) -> dict[str, int]:
    """Arguments of a configuration that calls a token's id what the tokenizer calls the token, and _id."""
    return {f"{name}_id": tokens.convert_tokens_to_ids(token) for name, token in names.items()}


def assemble(
    model_class: Any, processor: ProcessorMixin, vision: dict[str, Any], language: str | dict[str, Any], **changes: Any
) -> Built:
    """A model and its processor; `language` may be just the type of a language model with the arguments of `text`."""
    if isinstance(language, str):
        language = text(processor, model_type=language)
    config = model_class.config_class(vision_config=vision, text_config=language, **changes)
    return model_class(config), processor


def open_gates(model: PreTrainedModel, *endings: str) -> None:
    """Set the parameters whose names end so: zeros would hide the picture from an untrained language model."""
    for name, parameter in model.named_parameters():
        if name.endswith(endings):
            torch.nn.init.constant_(parameter, 0.5)


def llava() -> Built:
    """LLaVA 1.5: one square picture, every cell a token."""
    tokens = tokenizer(IMAGE)
    images = hf.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SQUARE)
    processor = hf.LlavaProcessor(images, tokens, PATCH, "default", CHAT, num_additional_image_tokens=1)
    places = {"image_token_index": tokens.image_token_id, "image_seq_length": TOKENS}
    return assemble(hf.LlavaForConditionalGeneration, processor, CLIP, "llama", **places)


def vipllava() -> Built:
    """ViP-LLaVA: LLaVA with the features of several vision layers side by side."""
    _, processor = llava()
    places = {"image_token_index": processor.image_token_id, "image_seq_length": TOKENS}
    layers = {"vision_feature_layer": [-2, -1, 1]}
    return assemble(hf.VipLlavaForConditionalGeneration, processor, CLIP, "llama", **places, **layers)


def video_llava() -> Built:
    """Video-LLaVA: one tower for pictures, one for videos; pictures come as `pixel_values_images`."""
    tokens = tokenizer(IMAGE_VIDEO)
    images = hf.VideoLlavaImageProcessor(size={"shortest_edge": SIDE}, crop_size=SQUARE)
    processor = hf.VideoLlavaProcessor(images, None, tokens, patch_size=PATCH, chat_template=CHAT)
    places = {"image_token_index": tokens.image_token_id, "video_token_index": tokens.video_token_id}
    return assemble(hf.VideoLlavaForConditionalGeneration, processor, CLIP, "llama", image_seq_length=TOKENS, **places)


def next_images() -> BaseImageProcessor:
    """Square tiles of a picture after the picture as a whole."""
    return hf.LlavaNextImageProcessor(size={"shortest_edge": SIDE}, crop_size=SQUARE, image_grid_pinpoints=PINPOINTS)


def llava_next() -> Built:
    """LLaVA-NeXT: tiles, padded to the longest list in the batch."""
    tokens = tokenizer(IMAGE)
    processor = hf.LlavaNextProcessor(next_images(), tokens, PATCH, "default", CHAT, num_additional_image_tokens=1)
    places = {"image_token_index": tokens.image_token_id, "image_seq_length": TOKENS}
    grid = {"image_grid_pinpoints": PINPOINTS}
    return assemble(hf.LlavaNextForConditionalGeneration, processor, CLIP, "llama", **places, **grid)


def llava_next_video() -> Built:
    """LLaVA-NeXT-Video, used with pictures."""
    tokens = tokenizer(IMAGE_VIDEO)
    processor = hf.LlavaNextVideoProcessor(
        None, next_images(), tokens, CHAT, PATCH, "default", num_additional_image_tokens=1
    )
    places = {"image_token_index": tokens.image_token_id, "video_token_index": tokens.video_token_id}
    grid = {"image_grid_pinpoints": PINPOINTS, "image_seq_length": TOKENS}
    return assemble(hf.LlavaNextVideoForConditionalGeneration, processor, CLIP, "llama", **places, **grid)


def granite4_vision() -> Built:
    """Granite 4 Vision: the picture enters only between layers of the language model."""
    tokens = tokenizer(IMAGE)
    processor = hf.Granite4VisionProcessor(next_images(), tokens, PATCH, "full", CHAT, downsample_rate="1/2")
    former = {"model_type": "blip_2_qformer", "num_hidden_layers": 1, "intermediate_size": 64}
    former |= {"cross_attention_frequency": 1, "max_position_embeddings": 64, "use_qformer_text_input": False}
    return assemble(
        hf.Granite4VisionForConditionalGeneration,
        processor,
        {**SIGLIP, "hidden_size": 64},  # its Q-Former has one head for every 64
        text(processor, num_hidden_layers=3),
        qformer_config=former,
        image_token_index=tokens.image_token_id,
        image_grid_pinpoints=PINPOINTS,
        downsample_rate="1/2",
        vision_feature_select_strategy="full",
        deepstack_layer_map=[[-1, 0]],
        spatial_target_layers=[1, 1, 2, 2],
    )


def llava_onevision() -> Built:
    """LLaVA-OneVision: tiles and SigLIP."""
    tokens = tokenizer(IMAGE_VIDEO)
    images = hf.LlavaOnevisionImageProcessor(size=SQUARE, image_grid_pinpoints=PINPOINTS)
    processor = hf.LlavaOnevisionProcessor(images, tokens, None, TOKENS, "full", CHAT)
    places = {"image_token_index": tokens.image_token_id, "video_token_index": tokens.video_token_id}
    grid = {"image_grid_pinpoints": PINPOINTS}
    return assemble(hf.LlavaOnevisionForConditionalGeneration, processor, SIGLIP, "qwen2", **places, **grid)


def pixtral(model_class: Any, processor_class: Any, merge: int, language: str, **changes: Any) -> Built:
    """A model with Pixtral's tower: pictures keep their shape and are padded to the largest."""
    names = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}
    cell = {"height": PATCH * merge, "width": PATCH * merge}
    images = hf.PixtralImageProcessor(size={"longest_edge": 2 * SIDE}, patch_size=cell)
    processor = processor_class(images, tokenizer(names), PATCH, merge, chat("[IMG]"))
    place = {"image_token_id": processor.image_token_id}
    return assemble(
        model_class, processor, PIXTRAL, text(processor, model_type=language, head_dim=8), **place, **changes
    )


def llava_pixtral() -> Built:
    """LLaVA's class with Pixtral's tower, as Pixtral 12B is stored."""
    layer = {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"}
    return pixtral(hf.LlavaForConditionalGeneration, hf.models.pixtral.PixtralProcessor, 1, "mistral", **layer)


def mistral3() -> Built:
    """Mistral Small 3: Pixtral's tower, two by two cells a token."""
    return pixtral(hf.Mistral3ForConditionalGeneration, hf.models.pixtral.PixtralProcessor, 2, "mistral")


def lighton_ocr() -> Built:
    """LightOnOCR: Pixtral's tower and Qwen3."""
    return pixtral(hf.LightOnOcrForConditionalGeneration, hf.LightOnOcrProcessor, 2, "qwen3")


def qwen(model_class: Any, processor_class: Any, patch: int, vision: dict[str, Any], **changes: Any) -> Built:
    """A model of the Qwen kind: the patches of all pictures in one row, with a grid for each."""
    names = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    names |= {"vision_start_token": "<|vision_start|>", "vision_end_token": "<|vision_end|>"}
    tokens = tokenizer(names)
    # Two by two patches make one token; from 4 to 16 tokens for a picture.
    images = hf.Qwen2VLImageProcessor(patch_size=patch, min_pixels=(4 * patch) ** 2, max_pixels=(8 * patch) ** 2)
    template = chat("<|vision_start|><|image_pad|><|vision_end|>")
    processor = processor_class(images, tokens, None, chat_template=template)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    width = {"hidden_size": 32, "num_heads": 4, "depth": 2, "patch_size": patch, "initializer_range": STD}
    language = text(processor, **{"rope_parameters": rope, **changes})
    return assemble(model_class, processor, {**width, **vision}, language, **ids(tokens, names))


WINDOWS = {"intermediate_size": 64, "out_hidden_size": 32, "fullatt_block_indexes": [1], "window_size": 56}
PLACES = {"intermediate_size": 64, "out_hidden_size": 32, "num_position_embeddings": 16}
DEEPSTACK = {**PLACES, "depth": 3, "deepstack_visual_indexes": [0, 1]}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
QWEN3 = {"head_dim": 8, "num_hidden_layers": 3}
QWEN3_5 = {
    "head_dim": 8,
    "layer_types": ["linear_attention", "full_attention"],
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1e4,
        "mrope_section": [2, 1, 1],
        "mrope_interleaved": True,
        "partial_rotary_factor": 1.0,
    },
}


def qwen2_vl() -> Built:
    """Qwen2-VL."""
    return qwen(hf.Qwen2VLForConditionalGeneration, hf.Qwen2VLProcessor, 14, {"embed_dim": 32, "mlp_ratio": 2})


def qwen2_5_vl() -> Built:
    """Qwen2.5-VL: attention in windows."""
    return qwen(hf.Qwen2_5_VLForConditionalGeneration, hf.Qwen2_5_VLProcessor, 14, WINDOWS)


def qwen3_vl() -> Built:
    """Qwen3-VL: features of early vision layers enter early layers of the language model."""
    return qwen(hf.Qwen3VLForConditionalGeneration, hf.Qwen3VLProcessor, 16, DEEPSTACK, **QWEN3)


def qwen3_vl_moe() -> Built:
    """Qwen3-VL with experts."""
    return qwen(hf.Qwen3VLMoeForConditionalGeneration, hf.Qwen3VLProcessor, 16, DEEPSTACK, **QWEN3, **EXPERTS)


def qwen3_5() -> Built:
    """Qwen3.5: a language model with linear attention."""
    return qwen(hf.Qwen3_5ForConditionalGeneration, hf.Qwen3VLProcessor, 16, PLACES, **QWEN3_5)


def qwen3_5_moe() -> Built:
    """Qwen3.5 with experts."""
    experts = {**EXPERTS, "shared_expert_intermediate_size": 16}
    return qwen(hf.Qwen3_5MoeForConditionalGeneration, hf.Qwen3VLProcessor, 16, PLACES, **QWEN3_5, **experts)


def exaone4_5() -> Built:
    """EXAONE 4.5."""
    language = {"model_type": "exaone4", "sliding_window": 32}
    vision = {**WINDOWS, "num_key_value_heads": 2}
    return qwen(hf.Exaone4_5_ForConditionalGeneration, hf.Exaone4_5_Processor, 14, vision, **language)


def glm(model_class: Any, image_class: Any, processor_class: Any, **changes: Any) -> Built:
    """A model of the GLM-V kind: patches in one row, as in Qwen."""
    names = {"image_token": "<|image|>", "image_start_token": "<|begin_of_image|>"}
    names |= {"image_end_token": "<|end_of_image|>", "video_token": "<|video|>"}
    names |= {"video_start_token": "<|begin_of_video|>", "video_end_token": "<|end_of_video|>"}
    tokens = tokenizer(names)
    images = image_class(size={"shortest_edge": 2 * 56**2, "longest_edge": 2 * 112**2})  # the pixels of two frames
    template = chat("<|begin_of_image|><|image|><|end_of_image|>")
    processor = processor_class(images, tokens, None, chat_template=template)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 0], "partial_rotary_factor": 0.5}
    vision = {**VISION, "depth": 2, "num_heads": 4, "patch_size": 14, "image_size": 56, "out_hidden_size": 32}
    language = text(processor, rope_parameters=rope, **changes)
    return assemble(model_class, processor, vision, language, **ids(tokens, names))


def glm4v() -> Built:
    """GLM-4.1V."""
    return glm(hf.Glm4vForConditionalGeneration, hf.Glm4vImageProcessor, hf.Glm4vProcessor)


def glm4v_moe() -> Built:
    """GLM-4.5V: with experts."""
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    return glm(hf.Glm4vMoeForConditionalGeneration, hf.Glm4vImageProcessor, hf.Glm4vProcessor, **experts)


def glm46v() -> Built:
    """GLM-4.6V."""
    language = {"model_type": "glm4v_text"}
    return glm(hf.Glm46VForConditionalGeneration, hf.Glm46VImageProcessor, hf.Glm46VProcessor, **language)


def paddleocr_vl() -> Built:
    """PaddleOCR-VL: patches in one row, each still a small picture."""
    names = {"image_token": "<|IMAGE_PLACEHOLDER|>", "video_token": "<|video_pad|>"}
    names |= {"vision_start_token": "<|IMAGE_START|>", "vision_end_token": "<|IMAGE_END|>"}
    tokens = tokenizer(names)
    images = hf.PaddleOCRVLImageProcessor(patch_size=PATCH, min_pixels=SIDE**2, max_pixels=(2 * SIDE) ** 2)
    template = chat("<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>")
    processor = hf.PaddleOCRVLProcessor(images, tokens, chat_template=template)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    language = text(processor, head_dim=8, rope_parameters=rope)
    return assemble(hf.PaddleOCRVLForConditionalGeneration, processor, VISION, language, **ids(tokens, names))


def video_llama_3() -> Built:
    """VideoLLaMA 3: patches in one row, merged as often as `image_merge_sizes` says."""
    tokens = tokenizer(IMAGE_VIDEO)
    images = hf.VideoLlama3ImageProcessor(patch_size=PATCH, min_pixels=SIDE**2, max_pixels=(2 * SIDE) ** 2)
    processor = hf.VideoLlama3Processor(images, tokens, None, chat_template=CHAT)
    return assemble(hf.VideoLlama3ForConditionalGeneration, processor, VISION, "qwen2", **ids(tokens, IMAGE_VIDEO))


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


def idefics3_like(model_class: Any, image_class: Any) -> Built:
    """A model of the Idefics3 kind: tiles, with a mask of the padding."""
    extra = ["<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    tokens = tokenizer(IMAGE, [*extra, *(f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7))])
    images = image_class(size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE})
    processor = hf.Idefics3Processor(images, tokens, 4, CHAT)
    return assemble(model_class, processor, VISION, "llama", image_token_id=tokens.image_token_id, scale_factor=2)


def idefics3() -> Built:
    """Idefics3."""
    return idefics3_like(hf.Idefics3ForConditionalGeneration, hf.Idefics3ImageProcessor)


def smolvlm() -> Built:
    """SmolVLM."""
    # SmolVLMProcessor writes the same prompts, but for videos it wants num2words and a video processor.
    return idefics3_like(hf.SmolVLMForConditionalGeneration, hf.SmolVLMImageProcessor)


def tiled_images() -> BaseImageProcessor:
    """Up to four square tiles and the picture as a whole, all pictures in one row."""
    return hf.GotOcr2ImageProcessor(size=SQUARE, crop_to_patches=True, max_patches=4)


def internvl() -> Built:
    """InternVL: tiles in one row."""
    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokens = tokenizer({**names, "video_token": "<video>"})
    processor = hf.InternVLProcessor(tiled_images(), tokens, None, 4, chat("<IMG_CONTEXT>"))
    vision = {**VISION, "image_size": [SIDE, SIDE], "patch_size": [PATCH, PATCH]}
    places = {"image_token_id": tokens.context_image_token_id, "image_seq_length": 4, "downsample_ratio": 0.5}
    return assemble(hf.InternVLForConditionalGeneration, processor, vision, "qwen2", **places)


def aya_vision() -> Built:
    """Aya Vision: tiles in one row."""
    marks = ["<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE", "TILE_GLOBAL"]
    tokens = tokenizer(IMAGE, marks)
    processor = hf.AyaVisionProcessor(tiled_images(), tokens, PATCH, SIDE, downsample_factor=2, chat_template=CHAT)
    language = text(processor, model_type="cohere2", sliding_window=32)
    place = {"image_token_index": processor.image_token_id}
    return assemble(hf.AyaVisionForConditionalGeneration, processor, SIGLIP, language, **place)


def cohere2_vision() -> Built:
    """Command A Vision: tiles in one row."""
    names = {**IMAGE, "boi_token": "<boi>", "eoi_token": "<eoi>", "img_line_break_token": "<line>"}
    tokens = tokenizer(names)
    images = tiled_images()  # the outputs of its own, which needs torchvision
    images.patch_size = 2
    processor = hf.Cohere2VisionProcessor(images, tokens, chat_template=CHAT)
    language = text(processor, model_type="cohere2", sliding_window=32)
    rest = {"image_token_id": tokens.image_token_id, "alignment_intermediate_size": 64}
    return assemble(hf.Cohere2VisionForConditionalGeneration, processor, SIGLIP, language, **rest)


def ovis2() -> Built:
    """Ovis2: tiles in one row, each cell a mixture of visual words."""
    marks = ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    tokens = tokenizer(IMAGE, [*marks, "<IMG_ATOM>"])
    images = hf.Ovis2ImageProcessor(size=SQUARE, crop_to_patches=True, max_patches=4)
    processor = hf.Ovis2Processor(images, tokens, chat_template=CHAT, image_seq_length=TOKENS)
    vision = {**VISION, "vocab_size": 64, "hidden_stride": 1, "num_visual_indicator_tokens": len(marks)}
    places = {"image_token_id": tokens.convert_tokens_to_ids("<IMG_ATOM>")}
    places["visual_indicator_token_ids"] = tokens.convert_tokens_to_ids(marks)
    sizes = {"vocab_size": len(tokens), "hidden_size": 32}
    return assemble(hf.Ovis2ForConditionalGeneration, processor, vision, "qwen2", **places, **sizes)


def paligemma() -> Built:
    """PaliGemma: no chat template, the picture comes first."""
    tokens = tokenizer(IMAGE)
    images = hf.SiglipImageProcessor(size=SQUARE)
    images.image_seq_length = TOKENS
    processor = hf.PaliGemmaProcessor(images, tokens)
    language = text(processor, model_type="gemma", head_dim=8)
    place = {"image_token_index": tokens.image_token_id, "projection_dim": 32}
    return assemble(hf.PaliGemmaForConditionalGeneration, processor, SIGLIP, language, **place)


def gemma3() -> Built:
    """Gemma 3: few tokens for each picture, which see each other."""
    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    tokens = tokenizer(names)
    processor = hf.Gemma3Processor(hf.Gemma3ImageProcessor(size=SQUARE), tokens, chat("<start_of_image>"), 4)
    language = text(processor, head_dim=8, sliding_window=32)
    places = {"boi_token_index": tokens.boi_token_id, "eoi_token_index": tokens.eoi_token_id}
    places |= {"image_token_index": tokens.image_token_id, "mm_tokens_per_image": 4}
    model, _ = assemble(hf.Gemma3ForConditionalGeneration, processor, SIGLIP, language, **places)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=STD)  # zeros otherwise
    return model, processor


def gemma4() -> Built:
    """Gemma 4: patches padded to one length, with their positions."""
    names = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    # Its processor wants these even where there is nothing to hear.
    names |= {"audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"}
    tokens = tokenizer(names)
    # 70 tokens are the fewest that the image processor allows.
    images = hf.Gemma4ImageProcessor(patch_size=4, max_soft_tokens=70, pooling_kernel_size=2)
    sound = hf.Gemma4AudioFeatureExtractor()
    processor = hf.Gemma4Processor(sound, images, tokens, None, chat("<|image|>"), image_seq_length=70)
    vision = {**VISION, "num_key_value_heads": 4, "head_dim": 8, "patch_size": 4}
    vision |= {"pooling_kernel_size": 2, "position_embedding_size": 256}
    language = text(processor, head_dim=8, global_head_dim=8, sliding_window=32)
    language |= {"layer_types": ["sliding_attention", "full_attention"]}
    language |= {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": len(tokens)}
    places = {**ids(tokens, names), "video_token_id": processor.video_token_id}
    return assemble(hf.Gemma4ForConditionalGeneration, processor, vision, language, initializer_range=STD, **places)


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


def florence2() -> Built:
    """Florence-2: the picture enters the encoder of BART."""
    tokens = tokenizer(IMAGE)
    images = hf.CLIPImageProcessor(size=SQUARE, do_center_crop=False)
    images.image_seq_length = TOKENS + 1  # one token for the mean, then one per cell
    processor = hf.Florence2Processor(images, tokens)
    vision = {"depths": [1, 1], "patch_size": [7, 3], "patch_stride": [4, 2], "patch_padding": [3, 1]}
    vision |= {"patch_prenorm": [False, True], "embed_dim": [16, 32], "num_heads": [2, 4], "num_groups": [2, 4]}
    vision |= {"window_size": 4, "projection_dim": 32, "initializer_range": STD}
    language = text(processor, model_type="bart", d_model=32, init_std=STD, decoder_start_token_id=2)
    for half in ("encoder", "decoder"):
        language |= {f"{half}_layers": 2, f"{half}_attention_heads": 4, f"{half}_ffn_dim": 64}
    place = {"image_token_id": tokens.image_token_id}
    return assemble(hf.Florence2ForConditionalGeneration, processor, vision, language, **place)


def kosmos2() -> Built:
    """Kosmos-2: 64 latents for each picture."""
    processor = hf.Kosmos2Processor(hf.CLIPImageProcessor(size=SQUARE, crop_size=SQUARE), tokenizer({}), 16)
    language = text(processor, embed_dim=32, layers=2, ffn_dim=64, attention_heads=4, init_std=STD)
    places = {"latent_query_num": 64}  # as many as the processor leaves for a picture
    return assemble(hf.Kosmos2ForConditionalGeneration, processor, VISION, language, **places)


def janus() -> Built:
    """Janus: a second, unused way of seeing draws pictures."""
    names = {"image_token": "<image>", "boi_token": "<begin_of_image>", "eoi_token": "<end_of_image>"}
    tokens = tokenizer(names)
    processor = hf.JanusProcessor(hf.JanusImageProcessor(size=SQUARE), tokens, CHAT, num_image_tokens=TOKENS)
    vision = {**VISION, "mlp_ratio": 2.0, "projection_dim": 32, "num_image_tokens": TOKENS}
    drawing = {"base_channels": 32, "channel_multiplier": [1, 1], "num_res_blocks": 1, "latent_channels": 32}
    drawing |= {"embed_dim": 8, "num_embeddings": 32, "num_patches": 4}
    drawing |= {"projection_dim": 32, "image_token_embed_dim": 32}
    rest = {"vq_config": drawing, "image_token_id": tokens.image_token_id}
    return assemble(hf.JanusForConditionalGeneration, processor, vision, "llama", **rest)


def deepseek_vl() -> Built:
    """DeepSeek-VL 1.3B."""
    tokens = tokenizer(IMAGE)
    processor = hf.DeepseekVLProcessor(hf.DeepseekVLImageProcessor(size=SQUARE), tokens, CHAT, TOKENS)
    return assemble(hf.DeepseekVLForConditionalGeneration, processor, SIGLIP, "llama", **ids(tokens, IMAGE))


def deepseek_vl_hybrid() -> Built:
    """DeepSeek-VL 7B: a second tower sees the picture in high resolution."""
    tokens = tokenizer(IMAGE)
    images = hf.DeepseekVLHybridImageProcessor(size=SQUARE, high_res_size={"height": 64, "width": 64})
    processor = hf.DeepseekVLHybridProcessor(images, tokens, CHAT, TOKENS)
    sam = {**WIDTH, "model_type": "sam_vision_model", "image_size": 64, "patch_size": 8, "num_hidden_layers": 2}
    sam |= {"output_channels": 16, "mlp_dim": 64, "global_attn_indexes": [1], "window_size": 4}
    rest = {"high_res_vision_config": sam, "image_token_id": tokens.image_token_id}
    model, _ = assemble(hf.DeepseekVLHybridForConditionalGeneration, processor, SIGLIP, "llama", **rest)
    open_gates(model, "high_res_vision_alpha")
    return model, processor


FAMILIES: dict[str, Callable[[], Built]] = {
    "llava": llava,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "idefics2": idefics2,
    "idefics3": idefics3,
    "smolvlm": smolvlm,
    "internvl": internvl,
    "paligemma": paligemma,
    "gemma3": gemma3,
    "mllama": mllama,
    "mistral3": mistral3,
    "llava_pixtral": llava_pixtral,
    "glm4v": glm4v,
    "blip-2": blip2,
    "instructblip": instructblip,
    "florence2": florence2,
    "kosmos-2": kosmos2,
    "vipllava": vipllava,
    "aya_vision": aya_vision,
    "idefics": idefics,
    "qwen3_vl_moe": qwen3_vl_moe,
    "qwen3_5": qwen3_5,
    "gemma4": gemma4,
    "janus": janus,
    "deepseek_vl": deepseek_vl,
    "granite4_vision": granite4_vision,
    "instructblip_opt": instructblip_opt,
    "instructblip_t5": instructblip_t5,
    "cohere2_vision": cohere2_vision,
    "ovis2": ovis2,
    "deepseek_vl_hybrid": deepseek_vl_hybrid,
    "video_llava": video_llava,
    "llava_next_video": llava_next_video,
    "glm4v_moe": glm4v_moe,
    "glm46v": glm46v,
    "qwen3_5_moe": qwen3_5_moe,
    "exaone4_5": exaone4_5,
    "lighton_ocr": lighton_ocr,
    "video_llama_3": video_llama_3,
    "paddleocr_vl": paddleocr_vl,
}


def build(name: str, seed: int = 0) -> Built:
    """The untrained model of a family, float32 and not in training mode, and its processor."""
    torch.manual_seed(seed)
    with without_torchvision():
        model, processor = FAMILIES[name]()
    return model.float().eval(), processor


def saved(name: str, folder: Path, largest: str = "60KB", dtype: torch.dtype = torch.float32) -> Path:
    """Saves a family's checkpoint, in files of at most `largest`; returns the folder."""
    model, processor = build(name)
    with without_torchvision():
        model.to(dtype).save_pretrained(folder, max_shard_size=largest)
        processor.save_pretrained(folder)
    return folder


def picture(seed: int, width: int, height: int) -> Image.Image:
    """A picture of coarse random colours."""
    colours = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.NEAREST)


def prompts(processor: ProcessorMixin, pictures: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
    """The model's inputs for the same question about each picture, as one batch."""
    if processor.chat_template is None:
        inputs = processor(images=list(pictures), text=[QUESTION] * len(pictures), padding=True, return_tensors="pt")
    else:
        question = {"type": "text", "text": QUESTION}
        inputs = processor.apply_chat_template(
            [[{"role": "user", "content": [{"type": "image", "image": image}, question]}] for image in pictures],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            padding=True,
        )
    inputs.pop("labels", None)
    return dict(inputs)


@torch.no_grad()
def check(name: str) -> str:
    """Use a family as a test would, and say in one line what came out; raises where it does not work."""
    start = time.perf_counter()
    model, processor = build(name)
    seconds = time.perf_counter() - start

    def logits(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        if model.config.get_text_config().is_encoder_decoder:
            inputs = {**inputs, "decoder_input_ids": torch.zeros(len(inputs["input_ids"]), 1, dtype=torch.long)}
        return model(**inputs).logits

    pictures = [picture(1, 60, 60), picture(2, 90, 45)]
    inputs = prompts(processor, pictures)
    before = logits(model, inputs)
    if not before.isfinite().all():
        raise ValueError("the logits are not finite")
    model.generate(**inputs, max_new_tokens=3, do_sample=False)
    change = (logits(model, prompts(processor, [picture(3, 60, 60), pictures[1]])) - before).abs()[0].max().item()
    if change < 1e-5:
        raise ValueError(f"another picture changes the logits by {change:.1e} only")
    with without_torchvision(), tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, max_shard_size="60KB")
        processor.save_pretrained(folder)
        reopened = hf.AutoModelForImageTextToText.from_pretrained(folder).eval()
        reopened_processor = hf.AutoProcessor.from_pretrained(folder)
    if type(reopened) is not type(model):
        raise TypeError(f"reopened as a {type(reopened).__name__}")
    if not torch.equal(logits(reopened, prompts(reopened_processor, pictures)), before):
        raise ValueError("the reopened model gives other logits")
    alone = [processor.image_processor(images=[image], return_tensors="pt") for image in pictures]
    alone = [{"(a tensor)": one} if isinstance(one, torch.Tensor) else one for one in alone]
    shapes = [", ".join(f"{key} {list(np.shape(value))}" for key, value in one.items()) for one in alone]
    size = sum(parameter.numel() for parameter in model.parameters())
    return f"{type(model).__name__} | {size:,} | {seconds:.2f} s | change {change:.0e} | " + " ; ".join(shapes)


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for family in sys.argv[1:] or FAMILIES:
        try:
            print(f"ok   {family} | {check(family)}", flush=True)
        except Exception as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            place = f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else ""
            print(f"FAIL {family} | {type(error).__name__}: {str(error)[:300]} @{place}", flush=True)
