"""Outputs: nothing is replaced but what unsee wrote, nothing lands where it must not, failures put things back."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_method import TYPED
from unsee.errors import InputError, OutputError
from unsee.session.creation import create
from unsee.session.store import Store, creation
from unsee.system import output
from unsee.system.disk import REPLACED, held, workspace
from unsee.system.output import RECORD, with_file, with_folder

Run = Callable[..., int]
FORGET = ("forget", "nscvf", *TYPED, "--ask", "never")


def fill(folder: Path) -> None:
    (folder / RECORD).write_text(json.dumps({"unsee": "0.0"}))


def test_a_folder_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def late(folder: Path) -> None:
        fill(folder)
        out.mkdir()
        (out / "mine").write_text("mine")

    with pytest.raises(OutputError, match="exists already"):
        with_folder(out, late)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine"]


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def late(file: Path) -> None:
        file.write_text("new")
        out.write_text("mine")

    with pytest.raises(OutputError, match="exists already"):
        with_file(out, late, overwrite=False)
    assert out.read_text() == "mine"


def test_overwrite_replaces_only_what_unsee_wrote(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years")
    with pytest.raises(OutputError, match="is a folder that this command did not write"):
        with_folder(out, fill, overwrite=True)
    (out / "result.json").write_text("{}")  # anybody's
    with pytest.raises(OutputError, match="is a folder that this command did not write"):
        with_folder(out, fill, overwrite=True)
    assert (out / "thesis.tex").read_text() == "years"
    with_folder(tmp_path / "own", fill)
    with_folder(tmp_path / "own", fill, overwrite=True)


def test_what_was_there_comes_back_where_the_last_rename_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, rename = tmp_path / "out", Path.rename
    with_folder(out, fill)
    (out / "note").write_text("kept")

    def failing(self: Path, place: Path) -> Path:
        if self.name == "complete":
            raise OSError(5, "Input/output error")
        return rename(self, place)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OutputError, match="Input/output error"):
        with_folder(out, fill, overwrite=True)
    assert (out / "note").read_text() == "kept"
    assert list(tmp_path.iterdir()) == [out]


def test_what_was_there_comes_back_where_the_process_was_killed_between_two_renames(tmp_path: Path) -> None:
    out = tmp_path / "out"
    left = tmp_path / ".out.abcd1234"
    (left / REPLACED).mkdir(parents=True)
    (left / REPLACED / "note").write_text("kept")
    with workspace(tmp_path, "out"):
        assert (out / "note").read_text() == "kept"
        assert not left.exists()


def test_what_killed_processes_left_is_swept_and_what_works_is_not(tmp_path: Path) -> None:
    left = tmp_path / ".out.abcd1234"
    left.mkdir()
    (left / "shard").write_text("large")
    others = [tmp_path / name for name in (".out.unfinished", ".out2.abcd1234", ".out.abc")]
    for other in others:
        other.mkdir()
        (other / "file").write_text("")
    (tmp_path / ".out.linklink").symlink_to(others[0])
    with workspace(tmp_path, "out") as first:
        (first / "working").write_text("")
        with workspace(tmp_path, "out"):
            assert (first / "working").exists()
    assert not left.exists()
    assert all((other / "file").exists() for other in others)


@pytest.fixture
def places(checkpoint: Path, begun: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copies of a model and of a session."""
    return (
        Path(shutil.copytree(checkpoint, tmp_path / "model")),
        Path(shutil.copytree(begun, tmp_path / "session")),
    )


def test_no_output_lands_in_a_session_or_a_model(
    unsee: Run, places: tuple[Path, Path], checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    data = ("--model", checkpoint, "--retain", retained)
    (tmp_path / "page.json").write_text("")
    for folder in places:
        assert unsee(*FORGET, *data, "--target", target, "--out", folder / "out") == 2
        assert unsee("moments", *data, "--out", folder / "moments.safetensors") == 2
        assert unsee("session", "init", folder / "inner", *data, *TYPED) == 2
        for command in ((*FORGET, "--target", target), ("moments",)):
            assert unsee(*command, *data, "--out", folder, "--overwrite") == 2
        assert unsee("session", "export", places[1], "--out", folder, "--overwrite") == 2
    (tmp_path / "page.json").unlink()
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_an_output_that_holds_what_is_read_is_not_replaced(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Questions, a judge or older moments of the user's in the folder of an earlier output."""
    old = tmp_path / "old"
    old.mkdir()
    for name in ("unsee.json", "result.json", "q.jsonl", "like.safetensors"):
        (old / name).write_text("{}")
    photos = ("--target", target, "--retain", retained, "--out", old, "--overwrite")
    given = {
        "forget": (*FORGET[1:], "--model", checkpoint, *photos, "--questions", old / "q.jsonl"),
        "evaluate": ("--model", checkpoint, *photos, "--questions", old / "q.jsonl"),
        "attack": ("--model", checkpoint, *photos, "--questions", old / "q.jsonl", "--before", checkpoint),
        "moments": ("--model", checkpoint, *photos[2:], "--like", old / "like.safetensors"),
    }
    for command, words in given.items():
        assert unsee(command, *words) == 2
        assert "would replace" in capsys.readouterr().err, command
    assert unsee("evaluate", "--model", checkpoint, *photos, "--judge", old) == 2
    assert "would replace" in capsys.readouterr().err
    assert sorted(file.name for file in old.iterdir()) == ["like.safetensors", "q.jsonl", "result.json", "unsee.json"]


def test_moments_and_report_replace_their_own_kind_alone(
    unsee: Run, checkpoint: Path, retained: Path, tmp_path: Path, result: object
) -> None:
    from unsee.records import to_json

    weights = Path(shutil.copytree(checkpoint, tmp_path / "model")) / "model.safetensors"
    data = ("--model", tmp_path / "model", "--retain", retained)
    before = weights.read_bytes()
    assert unsee("moments", *data, "--out", weights, "--overwrite") == 2
    assert weights.read_bytes() == before
    stray = tmp_path / "weights.safetensors"
    shutil.copy(weights, stray)
    assert unsee("moments", *data, "--out", stray, "--overwrite") == 2
    assert stray.read_bytes() == before
    assert unsee("moments", *data, "--out", tmp_path / "own.safetensors") == 0
    assert unsee("moments", *data, "--out", tmp_path / "own.safetensors", "--overwrite") == 0
    record, page = tmp_path / "result.json", tmp_path / "page.html"
    record.write_text(to_json(result))  # type: ignore[arg-type]
    assert unsee("report", record, "--out", record, "--overwrite") == 2
    assert json.loads(record.read_text())
    page.write_text("<p>mine</p>")
    assert unsee("report", record, "--out", page, "--overwrite") == 2
    assert page.read_text() == "<p>mine</p>"
    page.unlink()
    assert unsee("report", record, "--out", page) == 0
    assert unsee("report", record, "--out", page, "--overwrite") == 0


@pytest.fixture
def asked(checkpoint: Path, target: Path, retained: Path) -> list[object]:
    return [*FORGET, "--model", checkpoint, "--target", target, "--retain", retained]


def test_a_second_run_on_the_same_output_is_refused(
    unsee: Run, asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, state = tmp_path / "out", tmp_path / ".out.unfinished" / "state.pt"
    with held(state.parent):
        state.write_text("of the run that works")
        assert unsee(*asked, "--out", out) == 2
        assert "another run writes" in capsys.readouterr().err
        assert state.read_text() == "of the run that works"


def test_a_state_behind_a_link_is_refused(
    unsee: Run, asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ".out.unfinished").symlink_to(elsewhere)
    assert unsee(*asked, "--out", tmp_path / "out") == 2
    assert "cannot be used" in capsys.readouterr().err
    assert not list(elsewhere.iterdir())
    (tmp_path / ".out.unfinished").unlink()
    (tmp_path / ".out.unfinished").mkdir()
    (tmp_path / ".out.unfinished" / "state.pt").symlink_to(elsewhere / "state")
    assert unsee(*asked, "--out", tmp_path / "out", "--resume") == 2
    assert "it is a link" in capsys.readouterr().err
    assert not list(elsewhere.iterdir())


def test_a_disk_that_is_full_at_the_end_keeps_what_was_trained(
    unsee: Run, asked: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    state = tmp_path / ".out.unfinished" / "state.pt"

    def full(place: Path) -> None:
        if (place / "config.json").exists():
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(output, "sync", full)
        assert unsee(*asked, "--out", tmp_path / "out") == 2
    assert "What was trained is kept: run again with --resume" in capsys.readouterr().err
    assert state.stat().st_mode & 0o777 == 0o600
    assert state.parent.stat().st_mode & 0o777 == 0o700
    assert unsee(*asked, "--out", tmp_path / "out", "--resume") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_second_of_two_sessions_of_one_name_is_a_sentence(tmp_path: Path) -> None:
    facts = {"weights_after": "w", "retained_images": 1, "model_files": {}}

    def write(files: Path) -> None:
        for name in ("session.toml", "state.safetensors", "weights.safetensors"):
            (files / name).write_text(name)

    with pytest.raises(InputError, match="exists already"), creation(tmp_path / "s", facts) as slow:  # noqa: PT012
        write(slow)
        with creation(tmp_path / "s", facts) as quick:
            write(quick)
        whole = {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "s").iterdir()} == whole
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_of_sessions_begun_at_once_one_is_made_and_holds(checkpoint: Path, retained: Path, tmp_path: Path) -> None:
    from unsee.session.audit import verify

    command = [sys.executable, "-m", "unsee.cli.main", "session", "init", str(tmp_path / "s"), "--model"]
    command += [str(checkpoint), "--retain", str(retained), *TYPED]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [run.communicate()[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 2, 2], said
    assert sum("exists already" in text for text in said) == 2
    assert len(Store(tmp_path / "s").entries) == 1
    verify(tmp_path / "s")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_an_output_of_a_session_holds_a_record_and_may_be_replaced(
    unsee: Run, begun: Path, checkpoint: Path, known: Path, tmp_path: Path
) -> None:
    create(tmp_path / "s", checkpoint, known)
    for overwrite in ((), ("--overwrite",)):
        assert unsee("session", "export", tmp_path / "s", "--out", tmp_path / "out", *overwrite) == 0
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert record["session"]["head"] == Store(tmp_path / "s").entries[-1].hash
    assert record["environment"]["threads"] >= 1
