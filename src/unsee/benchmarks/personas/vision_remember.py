"""A tiny LLaVA whose decoder re-reads the image: few visual tokens enter it, a memory of several depths follows later.

Ours, after Vision Remember (arXiv 2506.03928): the encoder's last layer is pooled before the projector, and the image
tokens attend to features of other encoder layers before one of the decoder's layers.
"""

import math
from collections.abc import Sequence
from dataclasses import field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaModel,
    LlavaProcessor,
)
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRMSNorm
from transformers.models.llava.modeling_llava import LlavaModelOutputWithPast
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from unsee.benchmarks.personas.drawing import SIZE
from unsee.benchmarks.personas.tiny_vlm import build_model, build_processor

PATCH = 9
POOLING = 2


class VisionRememberConfig(LlavaConfig):
    """LLaVA's fields and where the memory comes from and goes to.

    `memory_depths`: the encoder layers, counted from 1, whose outputs are the memory. `pooling`: the patch grid of the
    last layer is averaged over squares of this side before the projector. `reread_layer`: the decoder layer, counted
    from 0, before which the memory is read.
    """

    model_type = "vision_remember"

    memory_depths: list[int] = field(default_factory=lambda: [2, 4])
    pooling: int = POOLING
    reread_layer: int = 1


def reread_inputs(levels: Sequence[Tensor | Sequence[Tensor]], positions: Tensor) -> dict[str, Tensor]:
    """What the language model takes beside its embeddings.

    `levels` are the `deepstack_features`, which become one memory (images, levels x patches, width); `positions` is
    the bool mask (rows, sequence) of the image tokens.
    """
    return {"visual_memory": torch.cat([torch.stack(list(level)) for level in levels], 1), "image_positions": positions}


class Reread(nn.Module):
    """Cross-attention from image tokens to the memory; of the language model."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.query_norm = LlamaRMSNorm(width, eps=config.rms_norm_eps)
        self.memory_norm = LlamaRMSNorm(width, eps=config.rms_norm_eps)
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """What each of the tokens (images, tokens, width) reads from its image's memory (images, patches, width)."""
        query, memory = self.query_norm(tokens), self.memory_norm(memory)
        q, k, v = (
            layer(source).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, source in ((self.q_proj, query), (self.k_proj, memory), (self.v_proj, memory))
        )
        read: Tensor = self.o_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return read


class RememberDecoderLayer(LlamaDecoderLayer):
    """A decoder layer whose input at the image tokens is the hidden state plus what it reads from the memory."""

    def __init__(self, config: LlamaConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self.reread = Reread(config)

    def forward(
        self,
        hidden_states: Tensor,
        *args: Any,
        visual_memory: Tensor | None = None,
        image_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """LLaMA's layer on hidden states (rows, sequence, width); without a memory, exactly that.

        `image_positions` is True for the same number of tokens per image, in the order of the images.
        """
        if visual_memory is not None and image_positions is not None:
            tokens = hidden_states[image_positions].unflatten(0, (len(visual_memory), -1))
            tokens = tokens + self.reread(tokens, visual_memory)
            hidden_states = hidden_states.masked_scatter(image_positions[..., None], tokens)
        output: Tensor = super().forward(hidden_states, *args, **kwargs)
        return output


class VisionRememberModel(LlavaModel):
    """Vision tower, projector, one projector per level of the memory, and a language model that re-reads."""

    config: VisionRememberConfig

    def __init__(self, config: VisionRememberConfig) -> None:
        super().__init__(config)
        wide, out = self.vision_tower.config.hidden_size, self.language_model.config.hidden_size
        self.memory_projector = nn.ModuleList(nn.Linear(wide, out) for _ in config.memory_depths)
        index = config.reread_layer
        self.language_model.layers[index] = RememberDecoderLayer(self.language_model.config, index)
        self.post_init()  # type: ignore[no-untyped-call] # transformers does not annotate it

    def get_image_features(self, pixel_values: Tensor, *_: Any, **__: Any) -> BaseModelOutputWithDeepstackFeatures:
        """Everything that reaches the language model; the other arguments of LLaVA have no effect.

        `pooler_output` is (images, tokens, width), `deepstack_features` a list of one tensor (images, patches, width)
        per depth.
        """
        seen = self.vision_tower(pixel_values, output_hidden_states=True, return_dict=True)
        patches = [state[:, 1:] for state in seen.hidden_states]  # without the class token
        side = math.isqrt(patches[-1].shape[1])
        grid = patches[-1].transpose(1, 2).unflatten(-1, (side, side))
        pooled = F.avg_pool2d(grid, self.config.pooling).flatten(2).transpose(1, 2)
        levels = zip(self.memory_projector, self.config.memory_depths, strict=True)
        return BaseModelOutputWithDeepstackFeatures(
            last_hidden_state=seen.last_hidden_state,
            pooler_output=self.multi_modal_projector(pooled),
            deepstack_features=[projector(patches[depth]) for projector, depth in levels],
        )

    def forward(
        self,
        input_ids: Any = None,
        pixel_values: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        mm_encoder_outputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...] | LlavaModelOutputWithPast:
        """LLaVA's forward pass; the memory goes to the language model beside the embeddings."""
        images = (mm_encoder_outputs or {}).get("image")
        if pixel_values is not None:
            images = self.get_image_features(pixel_values)
        embedded = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
        if images is not None:
            features = torch.cat(list(images.pooler_output))
            mask = self.get_placeholder_mask(input_ids, embedded, features)
            embedded = embedded.masked_scatter(mask, features)
            kwargs |= reread_inputs(images.deepstack_features, mask[..., 0])
        output: tuple[Any, ...] | LlavaModelOutputWithPast = super().forward(inputs_embeds=embedded, **kwargs)
        return output


class VisionRememberForConditionalGeneration(LlavaForConditionalGeneration):
    """The model with its language head."""

    config: VisionRememberConfig

    def __init__(self, config: VisionRememberConfig) -> None:
        super().__init__(config)
        self.model = VisionRememberModel(config)
        self.post_init()  # type: ignore[no-untyped-call] # transformers does not annotate it


def register() -> None:
    """Makes the Auto classes of transformers open these checkpoints; may be called again."""
    AutoConfig.register(VisionRememberConfig.model_type, VisionRememberConfig, exist_ok=True)
    AutoModelForImageTextToText.register(VisionRememberConfig, VisionRememberForConditionalGeneration, exist_ok=True)


def build_remember_processor() -> LlavaProcessor:
    """The processor of personas, with one image token per square of pooled patches: 16 an image."""
    processor = build_processor(strangers=False)
    processor.patch_size = PATCH * POOLING
    return processor


def build_remember_model(seed: int, *, width: int = 128) -> VisionRememberForConditionalGeneration:
    """The untrained model, float32, random weights from `seed`: the encoder sees 8 x 8 patches, 16 tokens enter."""
    base = build_model(seed, width=width, vision_layers=5, strangers=False).model
    vision = base.vision_tower.config
    vision.patch_size = PATCH
    config = VisionRememberConfig(
        vision_config=vision,
        text_config=base.language_model.config,
        image_token_index=base.config.image_token_index,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(SIZE // PATCH // POOLING) ** 2,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    return VisionRememberForConditionalGeneration(config)
