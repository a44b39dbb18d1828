"""Questions of one's own in a request of a session: their scores stand in the certificate."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

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
