"""Builders of models that cut a picture into tiles; LLaVA's own are in zoo_llava."""

from typing import Any

import transformers as hf
from transformers import BaseImageProcessor
from zoo_parts import CHAT, IMAGE, PATCH, SIDE, SIGLIP, SQUARE, TOKENS, VISION, Built, assemble, chat, text, tokenizer


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
