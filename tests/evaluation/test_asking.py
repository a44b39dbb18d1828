"""What a question may be, and what is said of one that a model cannot take."""

from collections.abc import Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import torch

from unsee.data import open_image
from unsee.errors import InputError
from unsee.evaluation import asking
from unsee.evaluation.asking import answer_probabilities, generate
from unsee.models.checkpoint import Vlm, load
from unsee.models.inputs import Question, context, image_inputs
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


def test_an_image_of_several_questions_goes_through_the_encoder_once(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a batch, and the answers are those to one question at a time; the model is left as it was."""
    vlm, seen = load(checkpoint, language=True), list[int]()
    base = vlm.model.base_model
    real = type(base).get_image_features

    @wraps(real)
    def counted(self: object, pixel_values: torch.Tensor, *args: object, **options: object) -> object:
        seen.append(len(pixel_values))
        return real(self, pixel_values, *args, **options)

    monkeypatch.setattr(type(base), "get_image_features", counted)
    pictures = images(3)
    asked = [
        Sample(picture, "c", text, "a person")
        for text in ("Who is this?", "What is this, and where?", "Why?")
        for picture in pictures
    ]
    together, shares = generate(vlm, asked), answer_probabilities(vlm, asked)
    assert seen == [3, 3, 3]  # answers are likely token by token and, as a trial, at once
    assert "get_image_features" not in vars(base)
    assert together == [generate(vlm, [one])[0] for one in asked]
    alone = [answer_probabilities(vlm, [one])[0] for one in asked]
    torch.testing.assert_close(shares, alone, rtol=1e-4, atol=1e-7)


def test_how_likely_an_answer_is_takes_one_pass_however_long_it_is(checkpoint: Path) -> None:
    """After the first time, when it is generated to see whether both say the same."""
    vlm, passes = load(checkpoint, language=True), list[int]()
    asked = [Sample(picture, "c", "Who is this?", "a person") for picture in images(2)]
    first = answer_probabilities(vlm, asked)
    longer = [replace(sample, answer="a person a person a person") for sample in asked]
    handle = vlm.model.register_forward_hook(lambda _, __, output: passes.append(output.logits.shape[1]))
    try:
        torch.testing.assert_close(answer_probabilities(vlm, asked), first, rtol=1e-4, atol=1e-7)
        answer_probabilities(vlm, longer)
    finally:
        handle.remove()
    tokens = len(vlm.processor.tokenizer("a person", add_special_tokens=False)["input_ids"])
    assert passes == [tokens + 1, 3 * tokens + 1]  # logits of the answer alone, in one pass each


def test_an_answer_in_which_words_are_looked_for_may_be_a_sentence(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are no longer than the right answers and two tokens; each question has its own bound."""
    vlm, given, real = load(checkpoint, language=True), list[tuple[int, int]](), asking._generate

    def noted(vlm: Vlm, samples: Sequence[Sample], inputs: Any, **options: Any) -> Any:
        given.append((len(samples), options["max_new_tokens"]))
        return real(vlm, samples, inputs, **options)

    monkeypatch.setattr(asking, "_generate", noted)
    (picture,) = images(1)
    short = Sample(picture, "c", "Who is this?", "a")
    own = len(vlm.processor.tokenizer("a", add_special_tokens=False)["input_ids"]) + 2
    said = generate(vlm, [short, replace(short, measure="words"), replace(short, tokens=5), short])
    assert sorted(given) == sorted([(1, own), (1, asking.SENTENCE), (1, 5)])
    assert len(said) == 4
    assert said[0] == said[3]
    assert said[1].startswith(said[0])


def test_few_large_photos_are_open_at_once(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their pixels, however many questions there are about them; what is said is the same."""
    vlm, pictures = load(checkpoint, language=True), images(4)
    asked = [Sample(picture, "c", text, "x") for picture in pictures for text in ("Who is this?", "Why?")]
    together, sizes = generate(vlm, asked), list[int]()
    monkeypatch.setattr(asking, "OPEN", 2 * pictures[0].width * pictures[0].height)
    real = asking.chat_inputs

    def noted(vlm: Vlm, questions: Sequence[Question], *rest: Any) -> Any:
        sizes.append(len(questions))
        return real(vlm, questions, *rest)

    monkeypatch.setattr(asking, "chat_inputs", noted)
    assert generate(vlm, asked) == together
    assert sizes == [4, 4]
    sizes.clear()
    monkeypatch.setattr(asking, "OPEN", 1)
    assert generate(vlm, asked) == together
    assert sizes == [2, 2, 2, 2]


def test_photos_that_are_asked_about_again_are_opened_once(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, opened, asked = load(checkpoint, language=True), list[object](), list[Sample]()
    for number, image in enumerate(images(3)):
        image.save(tmp_path / f"{number}.png")
        asked.append(Sample(tmp_path / f"{number}.png", "one", "Who is this?", "Ann", tokens=2))
    expected = generate(whole, asked), answer_probabilities(whole, asked)
    monkeypatch.setattr(asking, "open_image", lambda given: (opened.append(given), open_image(given))[1])
    with asking.asked_again():
        for _ in range(3):
            with asking.asked_again():
                assert (generate(whole, asked), answer_probabilities(whole, asked)) == expected
    assert len(opened) == 3
    generate(whole, asked)
    assert len(opened) == 6


def test_images_that_are_let_go_are_not_taken_for_later_ones(whole: Vlm) -> None:
    """Numbers of objects that are gone are given again."""
    with asking.asked_again():
        for picture in images(12):
            made = asking._inputs(whole, [Sample(picture.copy(), "", "Who is this?")])
            (alone,) = image_inputs(whole.processor, [picture])
            assert torch.equal(made["pixel_values"], alone["pixel_values"])
