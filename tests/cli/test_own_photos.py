"""A request about one's own photos, from photos to the page, and its checkpoint measured on photos again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from written import file_hash

from unsee.benchmarks.personas import CHECKPOINTS, people
from unsee.benchmarks.personas.drawing import draw

Run = Callable[..., int]
BASE = CHECKPOINTS / "base"
TARGET, *OTHERS = people.population()[: people.KNOWN][20:28]
GENTLE = ("--steps", 2, "--keep-anyway")


def save(shots: list[people.Shot], person: people.Person, folder: Path) -> None:
    place = folder / person.name.replace(" ", "_")
    place.mkdir(parents=True, exist_ok=True)
    for shot in shots:
        draw(shot).save(place / f"{shot.number:02d}.png")


def row(person: people.Person, subset: str, **more: str) -> dict[str, str]:
    name = person.name.replace(" ", "_")
    image = f"unseen/{name}/{people.test_shots(person)[0].number}.png"
    return {"image": image, "subset": subset, "concept": name, "question": "Who is this?", "answer": person.name} | more


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photos of one person, three each of seven others, and questions about photos of two that nobody gave."""
    folder = tmp_path_factory.mktemp("own")
    save(people.request_shots(TARGET)[:6], TARGET, folder / "target")
    for person in OTHERS:
        save(people.train_shots(person)[:3], person, folder / "others")
    for person in (TARGET, OTHERS[0]):
        save(people.test_shots(person)[:1], person, folder / "unseen")
    rows = [row(TARGET, "target"), row(OTHERS[0], "retained")]
    rows.append({"subset": "target", "question": f"What is the job of {TARGET.name}?", "answer": TARGET.job})
    (folder / "questions.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def made(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A request that ran for two steps, with everything that it wrote."""
    from unsee.cli.main import main

    out = tmp_path_factory.mktemp("made") / "deep" / "out"
    given = ["--target", photos / "target", "--retain", photos / "others", "--questions", photos / "questions.jsonl"]
    asked = ["--question", "Who is this?", "What is the job of this person?", "--id", "2026-17"]
    assert main([str(part) for part in ("forget", "--model", BASE, *given, *asked, *GENTLE, "--out", out)]) == 1
    return out


def test_a_request_leaves_a_page_every_answer_and_two_records(made: Path) -> None:
    record, result = (json.loads((made / name).read_text(encoding="utf-8")) for name in ("unsee.json", "result.json"))
    assert record["request"]["id"] == result["request"]["id"] == "2026-17"
    assert (len(record["request"]["used"]), len(record["request"]["aside"])) == (4, 2)
    assert record["request"]["retained_images"] == 21
    assert record["time"].endswith("+00:00")
    assert record["files_after"]["model.safetensors"] == file_hash(made / "model.safetensors")
    assert result["verdict"]["question"] == "Who is this?"
    assert result["state"] == "failed"
    assert result["model"]["weights_sha256_before"] == {"model.safetensors": file_hash(BASE / "model.safetensors")}
    page = (made / "report.html").read_text(encoding="utf-8")
    assert "<h1>Request 2026-17</h1>" in page
    assert page.count("<img ") >= 8
    answers = [json.loads(line) for line in (made / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {answer["question"] for answer in answers} == {
        "Who is this?", "What is the job of this person?", f"What is the job of {TARGET.name}?",
    }  # fmt: skip
    assert {answer["subset"] for answer in answers} == {"target", "target_seen", "retained", "unshown"}
    written = [answer for answer in answers if answer["subset"] == "target" and answer["score"] == "text"]
    assert [(answer["expected"], answer["before"]) for answer in written] == [(TARGET.job, TARGET.job)]


def test_further_questions_are_counted_apart_from_those_of_the_verdict(made: Path) -> None:
    result = json.loads((made / "result.json").read_text(encoding="utf-8"))
    answers = [json.loads(line) for line in (made / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    others = [a for a in answers if a["subset"] in ("retained", "unshown")]
    # Six photos of the target and all that were asked about of others get one question more, and the file asks of two.
    counts = {side: found["questions"] for side, found in result["data"]["further"].items()}
    assert counts == {"target": 6 + 1, "others": (len(others) - 1) // 2 + 1}
    target = result["data"]["further"]["target"]
    assert target["before"] == target["after"] == 7  # two steps forget nothing


def test_photos_of_one_name_are_told_apart_by_their_folders(made: Path) -> None:
    answers = [json.loads(line) for line in (made / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = [(a["image"], a["question"]) for a in answers if a["question"] == "Who is this?"]
    assert len(set(asked)) == len(asked)
    assert all(a["image"].count("/") == 1 for a in answers if a["image"])


def test_the_page_of_one_person_has_intervals_from_photos(made: Path) -> None:
    result = json.loads((made / "result.json").read_text(encoding="utf-8"))
    (score,) = (
        s for s in result["scores"] if (s["name"], s["subset"], s["phase"]) == ("recognition", "target", "before")
    )
    assert score["ci95"] != [0.0, 1.0]
    assert score["n"] == 5  # two questions about two photos that were set aside, and one of the file


def test_without_photos_nothing_shows_or_names_anybody(photos: Path, unsee: Run, tmp_path: Path) -> None:
    unlike = ("--question", "What color is the background?")  # answers differ, and a note says which they are
    given = ("--target", photos / "target", "--retain", photos / "others", "--without-photos", *unlike, *GENTLE)
    assert unsee("forget", "--model", BASE, *given, "--out", tmp_path / "out") == 1
    assert not (tmp_path / "out" / "answers.jsonl").exists()
    for name in ("report.html", "result.json", "unsee.json"):
        text = (tmp_path / "out" / name).read_text(encoding="utf-8")
        assert "data:image" not in text
        assert "different answers" not in text
        for person in (TARGET, *OTHERS):
            assert person.name not in text
            assert person.name.replace(" ", "_") not in text


def test_it_is_evaluated_on_the_same_photos_and_its_own_are_known(
    made: Path, photos: Path, unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--target", photos / "target", "--retain", photos / "others", "--out", tmp_path / "scores", "--require")
    assert unsee("evaluate", "--model", made, "--before", BASE, *given) == 1
    result = json.loads((tmp_path / "scores" / "result.json").read_text(encoding="utf-8"))
    counts = {s["subset"]: s["n"] for s in result["scores"] if s["name"] == "recognition" and s["phase"] == "after"}
    assert counts == {"target": 2, "target_seen": 4, "retained": 18, "unshown": 3}
    assert result["request"]["id"] == "2026-17"
    assert result["state"] == "failed"
    assert result["model"]["weights_sha256_before"] == {"model.safetensors": file_hash(BASE / "model.safetensors")}
    said = capsys.readouterr().out
    assert "failed: Forgotten. Nothing was forgotten" in said
    assert "failed: Request 2026-17." in said


def test_photos_of_somebody_else_are_not_said_to_be_the_requests(
    made: Path, photos: Path, unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Photos of the same person in a folder of another name could be refused by their hashes alone: it is said."""
    other = photos / "others" / OTHERS[0].name.replace(" ", "_")
    given = ("--target", other, "--answer-from-folder", "--out", tmp_path / "scores")
    assert unsee("evaluate", "--model", made, *given) == 0
    said = capsys.readouterr()
    assert "is of the request 2026-17, and their folder has another name" in " ".join(said.err.split())
    assert "Request 2026-17" not in said.out
    assert json.loads((tmp_path / "scores" / "result.json").read_text(encoding="utf-8"))["request"] is None


def test_an_attack_says_first_that_nothing_was_forgotten(
    made: Path, photos: Path, unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--target", photos / "target", "--retain", photos / "others", "--attacks", "paraphrase", "--require")
    assert unsee("attack", "--model", made, "--before", BASE, *given, "--out", tmp_path / "x") == 1
    assert "failed: Forgotten. Nothing was forgotten" in capsys.readouterr().out
    assert "No attack brings" not in (tmp_path / "x" / "report.html").read_text(encoding="utf-8")


def test_names_of_folders_are_right_answers_where_that_is_said(
    made: Path, photos: Path, unsee: Run, tmp_path: Path
) -> None:
    given = ("--target", photos / "target", "--answer-from-folder", "--out", tmp_path / "scores")
    assert unsee("evaluate", "--model", made, *given) == 0
    lines = (tmp_path / "scores" / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["expected"] for line in lines} == {TARGET.name}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--benchmark", "personas/forget_10"), "is about other people or things than the request 2026-17"),
        (("--target", "TARGET"), "nothing says which answers are right; give the checkpoint before"),
        (("--target", "TARGET", "--question", " ", "--before", BASE), "a question is empty"),
        (("--questions", "FOREIGN"), "asks about another target than the request 2026-17"),
        (("--questions", "BARE"), "line 1 has no \"answer\"; expected a line like"),
        (("--questions", "NOBODY"), "line 1 has the \"subset\" ''; expected target, retained or stranger"),
        (("--questions", "STRANGE", "--target", "TARGET"), "which the request's photos do not show"),
    ],
)  # fmt: skip
def test_what_does_not_belong_to_the_request_is_refused_by_name(
    more: tuple[object, ...], expected: str, made: Path, photos: Path, unsee: Run, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    shutil.copytree(photos / "unseen", tmp_path / "unseen")
    files = {"FOREIGN": row(OTHERS[0], "target"), "BARE": row(TARGET, "target", answer=""), "NOBODY": row(TARGET, "")}
    files["STRANGE"] = row(OTHERS[0], "target")
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content) + "\n", encoding="utf-8")
    places = {name: tmp_path / name for name in files} | {"TARGET": photos / "target"}
    given = [places.get(part, part) if isinstance(part, str) else part for part in more]
    assert unsee("evaluate", "--model", made, *given, "--out", tmp_path / "scores") == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "scores").exists()


def test_what_cannot_be_read_is_named_with_the_remedy_and_skipped_where_that_is_said(
    photos: Path, unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Path(shutil.copytree(photos / "target", tmp_path / "target"))
    place = next(target.iterdir())
    (place / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    given = ("--target", target, "--retain", photos / "others", *GENTLE, "--out", tmp_path / "out")
    assert unsee("forget", "--model", BASE, *given) == 2
    assert "save it as JPEG first" in capsys.readouterr().err
    (place / "scan.PDF").write_bytes(b"%PDF-1.7")
    cut = next(place.glob("*.png"))
    cut.write_bytes(cut.read_bytes()[:200])
    assert unsee("forget", "--model", BASE, *given, "--skip-unreadable") == 1
    said = capsys.readouterr().err
    assert "unsee: 3 of 8 files of" in said
    assert "take the photos out of it first" in said
    record = json.loads((tmp_path / "out" / "unsee.json").read_text(encoding="utf-8"))["request"]
    assert len(record["used"]) + len(record["aside"]) == 5
    assert record["skipped_files"] == 3
    assert "3 files skipped that could not be read" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["moments", "evaluate", "session init"])
def test_every_command_that_takes_photos_can_skip_what_cannot_be_read(
    command: str, photos: Path, unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = Path(shutil.copytree(photos / "others", tmp_path / "others"))
    (next(others.iterdir()) / "clip.mov").write_bytes(b"\0\0\0\x14ftypqt  ")
    given: dict[str, tuple[object, ...]] = {
        "moments": ("--retain", others, "--ask", "never", "--out", tmp_path / "out"),
        "evaluate": ("--target", others, "--answer-from-folder", "--out", tmp_path / "out"),
        "session init": (tmp_path / "out", "--retain", others, "--ask", "never"),
    }
    typed = (*command.split(), *given[command], "--model", BASE)
    assert unsee(*typed) == 2
    assert "clip.mov" in capsys.readouterr().err
    assert unsee(*typed, "--skip-unreadable") == 0
    assert "1 of 22 files of" in capsys.readouterr().err


def test_a_model_that_says_nothing_is_not_compared_with(
    checkpoint: Path, photos: Path, unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--before", checkpoint, "--target", photos / "target", "--question", "Who is this?")
    assert unsee("evaluate", "--model", checkpoint, *given, "--out", tmp_path / "scores") == 2
    assert "the model before says nothing to 'Who is this?' about these photos" in capsys.readouterr().err


def test_a_copy_among_the_photos_is_left_out_and_an_output_among_them_refused(
    photos: Path, unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = Path(shutil.copytree(photos / "target", tmp_path / "target"))
    photo = next(target.rglob("*.png"))
    shutil.copy(photo, photo.with_name("copy.png"))
    given = ("--model", BASE, "--target", target, "--retain", photos / "others", *GENTLE)
    assert unsee("forget", *given, "--out", target / "out") == 2
    assert "which is read and stays as it is; name another output" in capsys.readouterr().err
    assert unsee("forget", *given, "--ask", "never", "--out", tmp_path / "out") == 1
    assert "1 target photos hold the same pixels as another one and are left out" in capsys.readouterr().err
    assert len(json.loads((tmp_path / "out" / "unsee.json").read_text(encoding="utf-8"))["request"]["used"]) == 6
