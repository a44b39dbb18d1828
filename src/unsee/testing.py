"""Tiny models and images for tests, of this project and of others; no network, seconds to make."""

from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from unsee.benchmarks.personas import CHECKPOINTS
from unsee.benchmarks.personas.tiny_vlm import build_model, build_processor
from unsee.benchmarks.personas.vision_remember import register
from unsee.models.shards import shards


def tiny_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Saves a random LLaVA of 0.1 M parameters with its processor; returns the folder."""
    model = build_model(seed, width=32, vision_layers=3, text_layers=1)
    words = model.config.get_text_config()
    words.max_position_embeddings = 1024  # for questions after examples; no weight depends on it
    model.save_pretrained(folder)
    build_processor().save_pretrained(folder)
    return folder


def stored(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a checkpoint, by its name on disk."""
    found: dict[str, Tensor] = {}
    for file in shards(folder):
        found |= load_file(file)
    return found


def vision_remember() -> Path:
    """The checkpoint of a model that re-reads visual features between decoder layers; knows the people of personas.

    16 pooled image tokens enter the decoder, and before its second layer they attend to 2 x 64 features of two encoder
    depths. Registers its classes with the Auto classes of transformers. Ours, after the idea of arXiv 2506.03928.
    """
    register()
    return CHECKPOINTS / "remember"


def images(count: int, seed: int = 0, size: int = 24) -> list[Image.Image]:
    """RGB images of coarse random blocks, size x size pixels, all different."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
    return [Image.fromarray(block).resize((size, size), Image.Resampling.NEAREST) for block in blocks]


def photo_folder(folder: Path, count: int, seed: int = 0, concepts: int = 1) -> Path:
    """Writes `count` images per concept, in one sub-folder each where there is more than one; returns the folder."""
    made = images(count * concepts, seed)
    for concept in range(concepts):
        place = folder / f"concept_{concept}" if concepts > 1 else folder
        place.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            made[concept * count + number].save(place / f"{number:03d}.png")
    return folder
