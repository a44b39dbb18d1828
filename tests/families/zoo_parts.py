"""What the builders of the zoo share: sizes, a tokenizer, a chat template, and how a model is put together."""

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedModel, PreTrainedTokenizerFast, ProcessorMixin

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
