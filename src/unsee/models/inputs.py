"""Images and questions -> what a model takes, through the checkpoint's own processor and chat template."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL.Image import Image

from unsee.models.checkpoint import Vlm
from unsee.models.features import Inputs


def image_inputs(vlm: Vlm, images: Sequence[Image]) -> Inputs:
    """The visual inputs of a batch of RGB images; the first axis of each tensor counts images."""
    batch = vlm.processor.image_processor(images=list(images), return_tensors="pt")
    return {name: value for name, value in batch.items() if isinstance(value, torch.Tensor)}


def chat_inputs(vlm: Vlm, questions: Sequence[tuple[Image | None, str]]) -> Inputs:
    """Left-padded inputs for `generate`: each question in the checkpoint's chat template, with its image if any."""
    chats: list[list[dict[str, Any]]] = []
    for image, text in questions:
        content: list[dict[str, str]] = [{"type": "text", "text": text}]
        if image is not None:
            content.insert(0, {"type": "image"})
        chats.append([{"role": "user", "content": content}])
    prompts = [vlm.processor.apply_chat_template(chat, add_generation_prompt=True) for chat in chats]
    images = [image for image, _ in questions if image is not None]
    batch = vlm.processor(images=images or None, text=prompts, padding=True, padding_side="left", return_tensors="pt")
    return dict(batch)
