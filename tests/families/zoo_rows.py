"""Builders of models that take the patches of all pictures in one row: Qwen, GLM-V and their like."""

from typing import Any

import transformers as hf
from zoo_parts import CHAT, IMAGE_VIDEO, PATCH, SIDE, STD, VISION, Built, assemble, chat, ids, text, tokenizer


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
