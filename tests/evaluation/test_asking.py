"""What a question may be, and what is said of one that a model cannot take."""

from pathlib import Path

import pytest

from unsee.errors import InputError
from unsee.evaluation.asking import context, generate
from unsee.models.checkpoint import load
from unsee.records import Sample
from unsee.testing import images


def test_a_question_longer_than_the_context_is_named_and_not_cut(checkpoint: Path) -> None:
    vlm = load(checkpoint, language=True)
    room = context(vlm)
    assert room
    (image,) = images(1)
    assert generate(vlm, [Sample(image, "c", "Who is this?", "x", tokens=2)])
    with pytest.raises(InputError, match=rf"takes \d+ tokens and the model in .* has room for {room}; ask a shorter"):
        generate(vlm, [Sample(image, "c", "who " * room, "x", tokens=2)])


def test_a_picture_that_a_processor_cannot_take_is_named(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = load(checkpoint, language=True)
    good, bad = images(2)
    real = type(vlm.processor.image_processor).preprocess

    def refuse(self: object, images: list[object], *args: object, **options: object) -> object:
        flat = [part for image in images for part in (image if isinstance(image, list) else [image])]
        if any(getattr(image, "size", None) == (31, 17) for image in flat):
            raise ValueError("cannot be cut")
        return real(self, images, *args, **options)

    monkeypatch.setattr(type(vlm.processor.image_processor), "preprocess", refuse)
    asked = [Sample(image, name, "Who is this?", "x") for image, name in ((good, "a"), (bad.resize((31, 17)), "b"))]
    with pytest.raises(InputError, match=r"cannot take a sample of concept 'b' in memory \(cannot be cut\)"):
        generate(vlm, asked)
