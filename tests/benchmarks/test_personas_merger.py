"""The model with a merger is trained on exactly what its processor would give it."""

import numpy as np
import pytest
import torch
from PIL import Image

from unsee.benchmarks.personas.drawing import draw
from unsee.benchmarks.personas.merger import (
    CANVASES,
    build_merger_model,
    build_merger_processor,
    on_canvas,
    patches,
)
from unsee.benchmarks.personas.people import population, shot
from unsee.benchmarks.personas.sequences import make_layout
from unsee.benchmarks.personas.tiny_vlm import normal
from unsee.models.processors import open_processor, without_videos


@pytest.fixture(scope="module")
def processor():
    return build_merger_processor()


@pytest.mark.parametrize("canvas", CANVASES)
def test_patches_and_positions_are_those_of_the_processor_and_the_model(processor, canvas):
    pixels = torch.from_numpy(np.asarray(draw(shot(population()[0], 0))).transpose(2, 0, 1).copy())[None].float()
    stood = on_canvas(pixels, canvas)
    image = Image.fromarray(stood[0].permute(1, 2, 0).byte().numpy())
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who is this?"}]}]
    text = processor.apply_chat_template(asked, add_generation_prompt=True)
    given = processor(text=text, images=[image], return_tensors="pt")
    rows, grid = patches(on_canvas(normal(pixels), canvas))
    assert torch.equal(grid, given["image_grid_thw"])
    torch.testing.assert_close(rows, given["pixel_values"])
    layout = make_layout(processor, canvas)
    length = given["input_ids"].shape[1]
    assert layout.prefix == given["input_ids"][0, : len(layout.prefix)].tolist()
    expected, _ = build_merger_model(0).model.get_rope_index(
        given["input_ids"], given["mm_token_type_ids"], given["image_grid_thw"]
    )
    assert torch.equal(layout.positions[:, :length], expected[:, 0])


def test_the_processor_that_was_saved_makes_the_same_questions(processor, tmp_path):
    """The image's token is an attribute of the tokenizer, which must be saved with it."""
    build_merger_model(0).half().save_pretrained(tmp_path)
    with without_videos():
        processor.save_pretrained(tmp_path)
    opened = open_processor(tmp_path)
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Who is this?"}]}]
    image = draw(shot(population()[0], 0))
    first, again = (
        one(text=one.apply_chat_template(asked, add_generation_prompt=True), images=[image], return_tensors="pt")
        for one in (processor, opened)
    )
    assert torch.equal(first["input_ids"], again["input_ids"])
    torch.testing.assert_close(first["pixel_values"], again["pixel_values"])
