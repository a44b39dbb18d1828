"""`unsee evaluate`: scores of questions in a file, and which tokens make up an answer's probability."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_method import TYPED
from unsee.benchmarks.benchmark import Benchmark, limited
from unsee.models.checkpoint import Vlm
from unsee.records import Sample
from unsee.testing import images

Run = Callable[..., int]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A question about each of two photos."""
    folder = tmp_path / "questions"
    folder.mkdir()
    rows = []
    for number, image in enumerate(images(2, size=48)):
        image.save(folder / f"{number}.png")
        rows.append({"image": f"{number}.png", "question": "Who is this?", "answer": "Who is this"})
    file = folder / "asked.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_labels_are_shown_in_brackets_around_the_answer_alone(
    unsee: Run, checkpoint: Path, vlm: Vlm, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--model", checkpoint, "--benchmark", questions, "--out", tmp_path / "out"]
    assert unsee("evaluate", *asked, "--show-labels", 1) == 0
    said = capsys.readouterr().err.splitlines()
    shown = [line for line in said if line.startswith("accuracy/all: ")]
    assert len(shown) == 1
    before, _, answer = shown[0].partition(" [")
    tokens = vlm.processor.tokenizer
    expected = tokens.convert_ids_to_tokens(tokens("Who is this", add_special_tokens=False)["input_ids"])
    assert re.findall(r"\[(.+?)\]", "[" + answer) == expected
    assert "[" not in before
    assert "<image> x36" in before
    assert before.endswith("<assistant>")


def test_without_labels_none_are_shown(
    unsee: Run, checkpoint: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert unsee("evaluate", "--model", checkpoint, "--benchmark", questions, "--out", out) == 0
    assert "[" not in capsys.readouterr().err
    result = json.loads((out / "result.json").read_text())
    assert [(score["name"], score["n"]) for score in result["scores"]] == [("accuracy", 2)]
    assert result["model"]["family"] == "llava"
    assert (out / "report.html").exists()


def test_few_questions_of_each_kind_are_asked_and_said(
    unsee: Run, checkpoint: Path, questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    typed = ["evaluate", "--model", checkpoint, "--benchmark", questions, "--out", out]
    assert unsee(*typed, "--limit", 1) == 0
    result = json.loads((out / "result.json").read_text())
    assert [(score["name"], score["n"]) for score in result["scores"]] == [("accuracy", 1)]
    assert result["data"]["protocol"] == "at most 1 questions of each score and subset"
    assert unsee(*typed, "--limit", 0, "--overwrite") == 2
    assert "limit is 0" in capsys.readouterr().err


@given(st.lists(st.sampled_from(["who", "what", "where"]), max_size=40), st.integers(1, 12))
@settings(derandomize=True)
def test_what_is_left_of_a_kind_is_what_there_was_up_to_the_limit(scores: list[str], most: int) -> None:
    asked = [Sample(None, "c", str(number), score=score, subset="target") for number, score in enumerate(scores)]
    left = limited(Benchmark("b", "s", None, None, [], [], asked, []), most).questions
    assert [sample for sample in asked if sample in left] == left
    for score in set(scores):
        assert sum(sample.score == score for sample in left) == min(most, scores.count(score))


def test_a_model_before_is_compared_byte_for_byte(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, questions: Path, tmp_path: Path
) -> None:
    edited, out = tmp_path / "edited", tmp_path / "out"
    data = ["--target", target, "--retain", retained, *TYPED, "--ask", "never"]
    assert unsee("forget", "nscvf", "--model", checkpoint, *data, "--out", edited) == 0
    asked = ["--model", edited, "--before", checkpoint, "--benchmark", questions, "--out", out, "--require"]
    assert unsee("evaluate", *asked) == 0
    result = json.loads((out / "result.json").read_text())
    assert [(check["name"], check["passed"]) for check in result["checks"]] == [("language_model_unchanged", True)]
    assert {score["phase"] for score in result["scores"]} == {"before", "after"}


@pytest.mark.parametrize("before", [True, False])
def test_a_model_that_answers_nothing_right_is_said_and_fails(
    before: bool, unsee: Run, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A broken language model must not pass for one that has forgotten."""
    rows = [
        {
            "subset": subset,
            "score": "recognition",
            "question": "Where does Ann live?",
            "answer": f"no such word {number}",
        }
        for subset in ("target", "retained")
        for number in range(10)
    ]
    file, out = tmp_path / "asked.jsonl", tmp_path / "scores"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = ("--model", checkpoint, *(("--before", checkpoint) if before else ()), "--questions", file, "--out", out)
    assert unsee("evaluate", *asked, "--require") == 1
    said = (
        "The model before answers none of 20"
        if before
        else "The model answers none about others than the target, of 10"
    )
    assert f"{said} questions right" in " ".join(capsys.readouterr().out.split())
    assert said in " ".join((out / "report.html").read_text(encoding="utf-8").split())


def test_scores_never_replace_the_checkpoint(unsee: Run, checkpoint: Path, questions: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(checkpoint, tmp_path / "model"))
    before = sorted(path.name for path in model.iterdir())
    assert unsee("evaluate", "--model", model, "--benchmark", questions, "--out", model, "--overwrite") == 2
    assert sorted(path.name for path in model.iterdir()) == before
