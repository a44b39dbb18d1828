"""The tiny model of personas built as Qwen2-VL is: as many image tokens as a photo's size asks for, and a merger."""

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
)

from unsee.benchmarks.personas.drawing import SIZE
from unsee.benchmarks.personas.tiny_vlm import CHAT_TEMPLATE, IMAGE, MEAN, PAD, SPECIAL, STD, build_tokenizer
from unsee.models.processors import without_videos

PATCH, MERGED, FRAMES = 9, 2, 2  # pixels of a patch's side, patches of a token's side, times that an image is repeated
TOKEN = PATCH * MERGED
# Height and width of the photos that it learns from: as drawn, wider, and higher, by what their edges go on with.
CANVASES = ((SIZE, SIZE), (SIZE, SIZE + TOKEN), (SIZE + TOKEN, SIZE))


def build_merger_processor() -> Qwen2VLProcessor:
    """A processor that keeps a photo's shape: one token for 18 x 18 pixels, from 9 to 36 tokens."""
    named = {"image_token": SPECIAL[IMAGE], "video_token": "<unk>"}  # there is no video
    tokenizer = build_tokenizer(strangers=True, **named)
    images = Qwen2VLImageProcessor(
        patch_size=PATCH,
        merge_size=MERGED,
        temporal_patch_size=FRAMES,
        min_pixels=(3 * TOKEN) ** 2,
        max_pixels=(6 * TOKEN) ** 2,
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    )
    with without_videos():
        return Qwen2VLProcessor(images, tokenizer, None, chat_template=CHAT_TEMPLATE)


def build_merger_model(
    seed: int, *, width: int = 128, vision_layers: int = 5, text_layers: int = 3
) -> Qwen2VLForConditionalGeneration:
    """The untrained model, float32, random weights from `seed`: no class token, turned positions in both parts."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(strangers=True)
    config = Qwen2VLConfig(
        vision_config={
            "depth": vision_layers,
            "embed_dim": width,
            "hidden_size": width,
            "num_heads": 4,
            "patch_size": PATCH,
            "spatial_merge_size": MERGED,
            "temporal_patch_size": FRAMES,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": width * 3,
            "num_hidden_layers": text_layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "max_position_embeddings": 256,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
            "pad_token_id": PAD,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        image_token_id=IMAGE,
        video_token_id=tokenizer.unk_token_id,
        vision_start_token_id=tokenizer.unk_token_id,
        vision_end_token_id=tokenizer.unk_token_id,
        tie_word_embeddings=True,
    )
    return Qwen2VLForConditionalGeneration(config)


def on_canvas(pixels: Tensor, canvas: tuple[int, int]) -> Tensor:
    """Images (n, 3, SIZE, SIZE) in the middle of a canvas, their edges repeated."""
    high, wide = canvas[0] - pixels.shape[-2], canvas[1] - pixels.shape[-1]
    return F.pad(pixels, (wide // 2, wide - wide // 2, high // 2, high - high // 2), mode="replicate")


def patches(images: Tensor) -> tuple[Tensor, Tensor]:
    """Normal images (n, 3, height, width) as the model takes them: the rows of all patches, and each image's grid."""
    count, channels, height, width = images.shape
    high, wide = height // PATCH, width // PATCH
    rows = images.reshape(count, channels, high // MERGED, MERGED, PATCH, wide // MERGED, MERGED, PATCH)
    rows = rows.permute(0, 2, 5, 3, 6, 1, 4, 7)[..., None, :, :].expand(*[-1] * 6, FRAMES, -1, -1)
    grid = torch.tensor([[1, high, wide]], device=images.device).expand(count, -1)
    return rows.reshape(count * high * wide, channels * FRAMES * PATCH * PATCH), grid


def token_positions(start: int, canvas: tuple[int, int]) -> tuple[Tensor, int]:
    """The positions (3, tokens) of an image's tokens in time, height and width, and that of the token after them."""
    high, wide = canvas[0] // TOKEN, canvas[1] // TOKEN
    rows, columns = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
    places = torch.stack([torch.zeros(high * wide, dtype=torch.int64), rows.flatten(), columns.flatten()])
    return places + start, start + max(high, wide)
