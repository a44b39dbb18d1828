"""Builders of LLaVA and its kin, and of models with Pixtral's tower."""

from typing import Any

import transformers as hf
from transformers import BaseImageProcessor
from zoo_parts import (
    CHAT,
    CLIP,
    IMAGE,
    IMAGE_VIDEO,
    PATCH,
    PIXTRAL,
    SIDE,
    SIGLIP,
    SQUARE,
    TOKENS,
    Built,
    assemble,
    chat,
    text,
    tokenizer,
)

PINPOINTS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]


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
