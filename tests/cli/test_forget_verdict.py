"""`unsee forget` where a request missed its aim, or the model says something of its photos before it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from written import file_hash, weights_hash

from unsee.testing import images

Run = Callable[..., int]

SHORT = ("--steps", 1, "--rate", 1e-4)  # by which the target does not get anywhere


def test_a_request_that_missed_its_aim_is_1_and_writes_nothing(
    unsee: Run, asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unsee(*asked, *SHORT, "--out", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1] == (
        "unsee: The model itself was not asked. The features of the target did not go where they were sent; try more "
        "--steps or another --region. Nothing was written."
    )
    assert not list(tmp_path.iterdir())


def test_a_request_that_missed_its_aim_replaces_nothing(unsee: Run, asked: list[object], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert unsee(*asked, "--out", out) == 0
    before = {path.name: file_hash(path) for path in out.iterdir()}
    assert unsee(*asked, *SHORT, "--out", out, "--overwrite") == 1
    assert {path.name: file_hash(path) for path in out.iterdir()} == before


def test_it_is_written_anyway_where_that_is_asked_for_and_is_1_all_the_same(
    unsee: Run, asked: list[object], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert unsee(*asked, *SHORT, "--keep-anyway", "--out", out) == 1
    assert "failed: Forgotten. The model itself was not asked." in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert weights_hash(out) != weights_hash(checkpoint)
    verdict = json.loads((out / "unsee.json").read_text())["verdict"]
    assert (verdict["passed"], verdict["missed"]) == (False, ["target"])
    assert verdict["sentence"] == "The model itself was not asked."


@pytest.mark.parametrize("ask", [(), ("--ask", "auto"), ("--ask", "Who is this?"), ("--ask", "Who?", "Where is it?")])
def test_a_model_that_is_asked_and_named_nobody_before_is_told_so(
    ask: tuple[str, ...], unsee: Run, asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By default it is asked; of the questions given, one is taken."""
    before = asked[: asked.index("--ask")]
    assert unsee(*before, *SHORT, *ask, "--keep-anyway", "--out", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert "unsee: the model does not seem to know" in said.err
    verdict = json.loads((tmp_path / "out" / "unsee.json").read_text())["verdict"]
    assert "unknown" in verdict["missed"]
    assert verdict["question"] in (ask[1:] if ask and ask[1] != "auto" else ("Who is this?", "What is this?"))
    assert f"failed: Forgotten. No photo of the target got an answer to “{verdict['question']}”" in said.out
    assert (
        verdict["counts"]["used_named"] == verdict["counts"]["aside_named"] == [0, 0]
    )  # not forgotten, but never known
    assert verdict["sentence"].startswith("No photo of the target got an answer")


def test_similar_photos_among_the_retained_are_refused_or_left_out(
    unsee: Run, asked: list[object], retained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, others = tmp_path / "photos", Path(shutil.copytree(retained, tmp_path / "others"))
    photos.mkdir()
    for number, small in enumerate(images(3, seed=1)):
        photo = small.resize((240, 240))  # without the hard edges, which no photo has
        photo.save(photos / f"{number}.png")
    photo.resize((120, 120)).save(others / "concept_1" / "copy.jpg")
    asked[asked.index("--target") + 1] = photos
    place = asked.index("--retain") + 1
    asked[place] = others
    assert unsee(*asked, "--out", tmp_path / "out") == 2
    assert "copy.jpg is target image" in capsys.readouterr().err
    assert unsee(*asked, "--out", tmp_path / "out", "--drop-similar", "--keep-anyway") in (0, 1)
    asked[place] = retained
    assert unsee(*asked, "--out", tmp_path / "plain", "--keep-anyway") in (0, 1)
    assert weights_hash(tmp_path / "out") == weights_hash(tmp_path / "plain")
