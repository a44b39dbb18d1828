"""What a checkpoint's files lack or say elsewhere: it is asked as if they were whole."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unsee.benchmarks.personas import CHECKPOINTS, people
from unsee.benchmarks.personas.drawing import draw
from unsee.evaluation.asking import answer_probabilities, generate
from unsee.models import completing
from unsee.models.checkpoint import load
from unsee.records import Sample

PHOTOS = [draw(people.test_shots(person)[0]) for person in people.population()[40:46]]
QUESTION = "Who is this?"
ANSWERS = ["Uma Gray", "coach", "unknown", "Ivy Cole", "Rome", "Uma"]


def said(folder: Path, question: str = QUESTION) -> list[str]:
    """Answers; then how likely others of several lengths are, which are padded in a batch."""
    vlm = load(folder, language=True)
    given = [Sample(photo, "", question, answer, tokens=8) for photo, answer in zip(PHOTOS, ANSWERS, strict=True)]
    return [*generate(vlm, given), *(f"{likely:.6f}" for likely in answer_probabilities(vlm, given))]


@pytest.fixture(scope="module")
def expected() -> list[str]:
    found = said(CHECKPOINTS / "base")
    assert len(set(found)) > 3
    return found


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CHECKPOINTS / "base", tmp_path / "copy"))


def change(file: Path, **changed: Any) -> None:
    """Sets keys of a JSON file; those that are None are taken out."""
    found = json.loads(file.read_text(encoding="utf-8")) | changed
    file.write_text(json.dumps({name: value for name, value in found.items() if value is not None}), encoding="utf-8")


def template(folder: Path) -> str:
    """The chat template, which is gone afterwards."""
    text = (folder / "chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").unlink()
    return text


def with_the_tokenizer(folder: Path) -> None:
    change(folder / "tokenizer_config.json", chat_template=template(folder))


def by_name_with_the_tokenizer(folder: Path) -> None:
    named = [{"name": "default", "template": template(folder)}, {"name": "tools", "template": "{{ tools }}"}]
    change(folder / "tokenizer_config.json", chat_template=named)


def of_an_older_version(folder: Path) -> None:
    gone = ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens", "image_token")
    change(folder / "processor_config.json", **dict.fromkeys(gone))


def without_the_class_token(folder: Path) -> None:
    change(folder / "processor_config.json", num_additional_image_tokens=None)


def of_another_strategy(folder: Path) -> None:
    change(folder / "processor_config.json", vision_feature_select_strategy="full")


def padded_with_what_the_model_lacks(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    place = 1 + max(tokenizer["model"]["vocab"].values())
    added = {"id": place, "content": "[PAD]", "special": True}
    added |= dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    tokenizer["added_tokens"].append(added)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    change(folder / "tokenizer_config.json", pad_token="[PAD]")


def attending_by_a_package_that_is_not_here(folder: Path) -> None:
    change(folder / "config.json", _attn_implementation="flash_attention_2")


@pytest.mark.parametrize(
    "spoil",
    [
        with_the_tokenizer,
        by_name_with_the_tokenizer,
        of_an_older_version,
        without_the_class_token,
        of_another_strategy,
        padded_with_what_the_model_lacks,
        attending_by_a_package_that_is_not_here,
    ],
)
def test_answers_are_those_of_whole_files(spoil: Callable[[Path], None], copy: Path, expected: list[str]) -> None:
    spoil(copy)
    assert said(copy) == expected


def test_without_a_template_the_image_stands_before_the_question(copy: Path, expected: list[str]) -> None:
    """A user who knows how the model was taught writes it into the question, with the image's token."""
    template(copy)
    assert said(copy, f"<user><image>{QUESTION}<assistant>") == expected
    assert all(isinstance(text, str) for text in said(copy))


def test_a_template_of_the_tokenizer_that_shows_no_image_is_not_taken(copy: Path, expected: list[str]) -> None:
    template(copy)
    change(copy / "tokenizer_config.json", chat_template="{{ messages[0]['content'][-1]['text'] }}")
    assert said(copy, f"<user><image>{QUESTION}<assistant>") == expected


def test_a_template_of_the_tokenizer_that_does_not_end_is_not_taken(
    copy: Path, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completing, "TRYING", 0.5)
    template(copy)
    endless = "{% for i in range(99999) %}" * 6 + "{{ i }}" + "{% endfor %}" * 6
    change(copy / "tokenizer_config.json", chat_template=endless)
    assert said(copy, f"<user><image>{QUESTION}<assistant>") == expected
