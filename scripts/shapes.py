"""Checkpoints with random weights in the shape of real ones, made on the spot."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
)
from transformers.core_model_loading import revert_weight_conversion

from unsee.models.processors import without_videos

SHARD = 4_900_000_000  # bytes


def _llava() -> LlavaConfig:
    """The shape of LLaVA-1.5-7B."""
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )
    text = LlamaConfig(
        vocab_size=32064, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32
    )
    return LlavaConfig(vision_config=vision, text_config=text, image_token_index=32000, image_seq_length=576)


def _tokenizer(named: dict[str, str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of so many tokens; `named` ones become its attributes, and come last."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    first = size - len(named) - 3
    words = [*alphabet, *(f"<unused_{number}>" for number in range(len(alphabet), first))]
    backend = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, []))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    backend.add_special_tokens(["<pad>", "<s>", "</s>", *named.values()])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",  # noqa: S106 # no password
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        model_specific_special_tokens=named,
    )


def _template(image: str) -> str:
    return (
        "{% for message in messages %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}" + image + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endfor %}"
    )


def _llava_processor() -> LlavaProcessor:
    """The image processor of CLIP at 336 pixels."""
    return LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
        tokenizer=_tokenizer({"image_token": "<image>"}, 32001),
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_template("<image>"),
    )


QWEN = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_start_token": "<|vision_start|>",
    "vision_end_token": "<|vision_end|>",
}
QWEN_TOKENS = 152064


def _qwen() -> Qwen2_5_VLConfig:
    """The shape of Qwen2.5-VL-7B."""
    vision = {
        "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "out_hidden_size": 3584,
        "patch_size": 14, "spatial_merge_size": 2, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31],
    }  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    text = {
        "vocab_size": QWEN_TOKENS, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
        "num_attention_heads": 28, "num_key_value_heads": 4, "max_position_embeddings": 32768, "rope_parameters": rope,
    }  # fmt: skip
    ids = {f"{name}_id": QWEN_TOKENS - len(QWEN) + place for place, name in enumerate(QWEN)}
    return Qwen2_5_VLConfig(vision_config=vision, text_config=text, **ids)


def _qwen_processor() -> Qwen2_5_VLProcessor:
    """From 256 to 1,280 tokens of 28 x 28 pixels, as its documentation has it."""
    images = Qwen2VLImageProcessor(patch_size=14, min_pixels=256 * 28 * 28, max_pixels=1280 * 28 * 28)
    template = _template("<|vision_start|><|image_pad|><|vision_end|>")
    return Qwen2_5_VLProcessor(images, _tokenizer(QWEN, QWEN_TOKENS), None, chat_template=template)


SHAPES = {
    "llava": (LlavaForConditionalGeneration, _llava, _llava_processor),
    "qwen": (Qwen2_5_VLForConditionalGeneration, _qwen, _qwen_processor),
}


def is_visual(name: str) -> bool:
    """Whether a tensor of these shapes, by its name on disk, is of the visual module."""
    return any(part in name for part in ("vision", "visual", "projector"))


def values(name: str, tensor: Tensor, block: Tensor) -> bytes:
    """Random bfloat16 values: own ones for what is visual, one repeated block for the language model."""
    if tensor.ndim == 1:
        fill = 1.0 if name.endswith("weight") else 0.0  # of a norm
        made = torch.full(tensor.shape, fill, dtype=torch.bfloat16)
    elif not is_visual(name):
        times = -(-tensor.numel() // block.numel())
        made = block.repeat(times)[: tensor.numel()]
    else:
        made = (torch.randn(tensor.shape) * 0.02).to(torch.bfloat16)
    return made.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def make(folder: Path, shape: str = "llava") -> None:
    """Writes a checkpoint of a shape, tensor by tensor; never holds more than one."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    kind, config, processor = SHAPES[shape]
    with torch.device("meta"):
        model = kind(config())
    stored = revert_weight_conversion(model, {name: p.detach() for name, p in model.named_parameters()})
    groups: list[dict[str, Tensor]] = [{}]
    for name, tensor in sorted(stored.items(), key=lambda item: not is_visual(item[0])):
        if sum(2 * t.numel() for t in groups[-1].values()) + 2 * tensor.numel() > SHARD:
            groups.append({})
        groups[-1][name] = tensor
    block, places = (torch.randn(1 << 22) * 0.02).to(torch.bfloat16), {}
    for number, group in enumerate(groups, 1):
        file = folder / f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        start, header = 0, {"__metadata__": {"format": "pt"}}
        for name, tensor in group.items():
            stop = start + 2 * tensor.numel()
            header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [start, stop]}
            places[name], start = file.name, stop
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with file.open("wb") as handle:
            handle.write(len(text).to_bytes(8, "little") + text)
            for name, tensor in group.items():
                handle.write(values(name, tensor, block))
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    written = config()
    written.dtype, written.architectures = torch.bfloat16, [kind.__name__]
    written.save_pretrained(folder)
    with without_videos():
        processor().save_pretrained(folder)


def photos(folder: Path, concepts: int, count: int, seed: int) -> Path:
    """Photos of random blocks, `count` of each concept."""
    rng = np.random.default_rng(seed)
    for concept in range(concepts):
        place = folder / f"concept_{concept}"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            blocks = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            Image.fromarray(blocks).resize((400, 300), Image.Resampling.NEAREST).save(place / f"{number}.png")
    return folder
