"""Questions of one's own in a request of a session: their scores stand in the certificate."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from unsee.benchmarks.personas.drawing import draw
from unsee.benchmarks.personas.people import population, request_shots
from unsee.evaluation import hearing
from unsee.evaluation.self_check import SHOWN, Heard
from unsee.records import Sample
from unsee.session.session import Session

Run = Callable[..., int]


def test_questions_of_a_file_are_asked_before_and_after(
    begun: Path, people: Path, unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, target = shutil.copytree(begun, tmp_path / "s"), people / "concept_1"
    photo = sorted(target.iterdir())[0]
    rows = [
        {"image": f"concept_1/{photo.name}", "subset": "target", "question": "Who is this?", "answer": "x"},
        {"subset": "target", "question": "Where does concept_1 live?", "answer": "y"},
    ]
    file = people / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    try:
        given = ("--target", target, "--id", "second", "--questions", file, "--answer-from-folder", "--keep-anyway")
        assert unsee("session", "forget", folder, *given) in (0, 1)
    finally:
        file.unlink()
    capsys.readouterr()
    assert unsee("session", "certificate", folder, "second") == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    assert {score["phase"] for score in scores} == {"before", "after"}
    assert {score["subset"] for score in scores} >= {"target"}
    with Session(folder) as session:
        assert session.standing()[-1].facts["id"] == "second"
    assert unsee("session", "forget", folder, "--target", target, "--id", "third", "--questions", tmp_path / "no") == 2


def test_retained_photos_that_are_taken_for_the_target_are_refused_or_left_out(
    begun: Path, people: Path, unsee: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The tiny model takes nobody for anybody, so that it is said here whom."""

    def taken(heard: Heard) -> list[Sample]:
        return [sample for sample in heard.photos[SHOWN] if sample.concept == "concept_2"]

    monkeypatch.setattr(hearing, "among_retained", taken)
    monkeypatch.setattr(hearing, "_confirmed", lambda _hearing, _before, alike: alike)
    folder = shutil.copytree(begun, tmp_path / "s")
    given = ("--target", people / "concept_4", "--retain", people, "--id", "one", "--keep-anyway")
    asked = ("--question", "Who is this?")
    assert unsee("session", "forget", folder, *given, *asked) == 2
    assert "let --drop-similar leave them out" in capsys.readouterr().err
    assert unsee("session", "forget", folder, *given, *asked, "--drop-similar") in (0, 1)
    assert "(concept_2) get the target's answer and are left out" in " ".join(capsys.readouterr().err.split())


def test_a_photo_of_the_target_resized_among_the_retained_is_refused_or_left_out(
    begun: Path, people: Path, unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, others = shutil.copytree(begun, tmp_path / "s"), Path(shutil.copytree(people, tmp_path / "others"))
    target = tmp_path / "target"
    target.mkdir()
    for number, shot in enumerate(request_shots(population()[0])[:4]):
        draw(shot).save(target / f"{number}.png")
    with Image.open(target / "2.png") as photo:
        photo.resize((photo.width * 2, photo.height * 2)).save(others / "concept_2" / "larger.png")
    given = ("--target", target, "--retain", others, "--id", "one", "--ask", "never", "--keep-anyway")
    assert unsee("session", "forget", folder, *given) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "larger.png is target image" in said
    assert "2.png resized or encoded anew; remove it, or let --drop-similar leave it out." in said
    assert unsee("session", "forget", folder, *given, "--drop-similar") in (0, 1)
    certificate = json.loads((folder / "certificates" / "one.json").read_text(encoding="utf-8"))
    assert certificate["retained_images"] == len(list(people.rglob("*.png")))


def test_a_certificate_names_nobody(begun: Path, people: Path, unsee: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(begun, tmp_path / "s")
    given = ("--target", people / "concept_4", "--retain", people, "--id", "one", "--keep-anyway")
    assert unsee("session", "forget", folder, *given, "--question", "Who is this?") in (0, 1)
    for file in folder.rglob("*.json*"):
        assert "concept_" not in file.read_text(encoding="utf-8"), file.name
