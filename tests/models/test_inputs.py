"""Images and questions as a model takes them: per image, in batches, and refused where processor and model differ."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import unsee
from unsee.errors import InputError
from unsee.methods import NSCVF
from unsee.models.checkpoint import Vlm, load
from unsee.models.features import collated
from unsee.models.inputs import SIDES, chat_inputs, enough, image_inputs, tokens_vary
from unsee.testing import images


def test_every_image_is_prepared_alone(vlm: Vlm) -> None:
    together = image_inputs(vlm.processor, images(3))
    for one, image in zip(together, images(3), strict=True):
        (alone,) = image_inputs(vlm.processor, [image])
        assert one.keys() == alone.keys()
        assert all(torch.equal(one[name], alone[name]) for name in one)


def test_a_batch_is_padded_behind_each_image() -> None:
    small, large = torch.ones(1, 2, 3), torch.full((1, 4, 5), 2.0)
    batch = collated([{"pixels": small}, {"pixels": large}])["pixels"]
    assert batch.shape == (2, 4, 5)
    assert torch.equal(batch[:1, :2, :3], small)
    assert batch[0].sum() == small.sum()
    assert torch.equal(batch[1:], large)


def test_a_processor_of_one_size_makes_as_many_tokens_of_every_image(vlm: Vlm) -> None:
    assert not tokens_vary(vlm.processor)


def test_of_a_large_photo_as_much_is_kept_as_the_processor_uses(vlm: Vlm) -> None:
    photo = images(1)[0].resize((2600, 1800))
    assert enough(vlm.processor, photo, 2048) == SIDES[0]
    small = photo.resize((SIDES[0], 300))
    (whole,), (less,) = image_inputs(vlm.processor, [photo]), image_inputs(vlm.processor, [small])
    assert {name: value.shape for name, value in whole.items()} == {name: value.shape for name, value in less.items()}
    assert enough(vlm.processor, images(1)[0], 2048) == 2048  # it is no larger than the least side


def test_questions_of_a_batch_are_padded_on_the_left(vlm: Vlm) -> None:
    picture = images(1)[0]
    short, long = "Who is this?", "What is the colour of the hair of this person?"
    batch = chat_inputs(vlm, [(picture, short), (picture, long)])
    (alone,) = chat_inputs(vlm, [(picture, short)])["input_ids"]
    assert batch["attention_mask"][0, 0] == 0
    assert torch.equal(batch["input_ids"][0, -len(alone) :], alone)


def test_a_processor_that_makes_room_for_other_tokens_is_refused(
    checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "copy"))
    file = copy / "processor_config.json"
    settings = json.loads(file.read_text())
    settings["patch_size"] *= 2
    file.write_text(json.dumps(settings))
    with pytest.raises(InputError, match="makes room for 9 tokens of an image of which the model makes 36"):
        unsee.forget(load(copy), target, retained, method=NSCVF(steps=1), ask="never")


def test_an_image_of_any_shape_is_taken(vlm: Vlm) -> None:
    assert len(image_inputs(vlm.processor, [Image.new("RGB", size) for size in ((1, 1), (500, 3), (3, 500))])) == 3


def test_shots_stand_before_their_question_turn_by_turn(vlm: Vlm) -> None:
    first, second = images(2)
    tokenizer = vlm.processor.tokenizer
    asked, shots = [(first, "Who is this?"), (first, "Where?")], [[(second, "Who is this?", "Ada")], []]
    batch = chat_inputs(vlm, asked, shots)
    (text, plain) = tokenizer.batch_decode(batch["input_ids"])
    assert text.count("<image>") == 2 * plain.count("<image>")
    (alone,) = tokenizer.batch_decode(chat_inputs(vlm, [(first, "Who is this?")])["input_ids"])
    example, said = text.removesuffix(alone.removeprefix("<s> ")), "<assistant> Ada"
    assert example != text
    assert said in example[example.rindex("<image>") :]
    assert len(batch["pixel_values"]) == 3
    (own,) = image_inputs(vlm.processor, [second])
    assert torch.equal(batch["pixel_values"][:1], own["pixel_values"])
    assert torch.equal(chat_inputs(vlm, asked)["input_ids"], chat_inputs(vlm, asked, [[], []])["input_ids"])


def test_shots_without_a_template_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    copy = load(Path(shutil.copytree(checkpoint, tmp_path / "copy")))
    copy.processor.chat_template = None
    with pytest.raises(InputError, match="no chat template to show examples in"):
        chat_inputs(copy, [(None, "Where?")], [[(None, "Who?", "Ada")]])
