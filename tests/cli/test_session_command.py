"""`unsee session` as it is typed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_method import TYPED
from unsee.methods import NSCVF
from unsee.session import settings
from unsee.session.ledger import SETTINGS
from unsee.session.store import Store

Run = Callable[..., int]
NEVER = ("--ask", "never")
AIMED = (*TYPED, "--steps", "60")


@pytest.fixture
def folder(unsee: Run, checkpoint: Path, retained: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "session"
    assert unsee("session", "init", folder, "--model", checkpoint, "--retain", retained, *AIMED) == 0
    return folder


def test_the_life_of_a_session(
    unsee: Run, folder: Path, target: Path, retained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ("--target", target, "--id", "2026-1", "--reason", "[b]x[/b]", "--keep-undo")
    assert unsee("session", "forget", folder, *NEVER, *first) == 0
    said = capsys.readouterr()
    assert "undo data is kept: it is what was forgotten" in said.out
    assert "none of the 3 target images was among the retained ones" in said.err
    assert unsee("session", "log", folder) == 0
    said = capsys.readouterr()
    assert "[b]x[/b]" in said.out
    assert "undo data of 2026-1 is kept" in said.out
    assert unsee("session", "certificate", folder, "2026-1") == 0
    assert json.loads(capsys.readouterr().out)["protected_tensors"] > 0
    page = tmp_path / "pages" / "certificate.html"
    assert unsee("session", "certificate", folder, "2026-1", "--html", page) == 0
    said = page.read_text(encoding="utf-8")
    assert "<h1>Certificate of request 2026-1</h1>" in said
    assert "[b]x[/b]" in said
    assert json.loads((folder / "certificates" / "2026-1.json").read_text())["weights_after"] in said
    assert unsee("session", "certificate", folder, "2026-1", "--html", page) == 2
    assert unsee("session", "certificate", folder, "2026-9") == 2
    assert "has no request 2026-9" in capsys.readouterr().err
    assert unsee("session", "verify", folder) == 0
    assert "holds: 2 entries" in capsys.readouterr().out
    assert unsee("session", "undo", folder, "--id", "2026-1") == 0
    assert unsee("session", "forget", folder, *NEVER, "--target", retained / "concept_0", "--id", "2026-2") == 0
    assert "3 of 3 target images taken out of the statistics, 9 left" in capsys.readouterr().out
    assert unsee("session", "seal", folder) == 0
    assert unsee("session", "capacity", folder, "--json") == 0
    out = capsys.readouterr().out
    rows = json.loads(out[out.index("[") :])
    assert {"layer", "width", "free_before", "free", "drift"} == set(rows[0])
    assert unsee("session", "export", folder, "--out", tmp_path / "out") == 0
    assert "passed: language_model_unchanged" in capsys.readouterr().out
    assert unsee("session", "log", folder, "--json") == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["event"] for entry in entries] == ["init", "forget", "undo", "forget", "seal"]
    assert "undo_kept" in entries[1]["facts"]


def test_a_page_without_a_name_is_called_after_its_request(
    unsee: Run, folder: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert unsee("session", "forget", folder, *NEVER, "--target", target, "--id", "2026-1") == 0
    monkeypatch.chdir(tmp_path)
    assert unsee("session", "certificate", folder, "2026-1", "--html") == 0
    assert "Certificate of request 2026-1" in (tmp_path / "2026-1.html").read_text()
    assert unsee("session", "certificate", folder, "2026-1", "--html", "--overwrite") == 0


def test_what_does_not_hold_is_1_and_what_cannot_be_done_is_2(
    unsee: Run, folder: Path, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unsee("session", "log", tmp_path) == 2
    assert "is no session" in capsys.readouterr().err
    assert unsee("session", "forgte", folder) == 2
    assert "did you mean 'forget'" in capsys.readouterr().err
    assert unsee("session", "init", tmp_path / "x", "--method", "nscfv", "--model", "m", "--retain", target) == 2
    assert "did you mean 'nscvf'" in capsys.readouterr().err
    assert unsee("session", "undo", folder, "--id", "none") == 2
    assert "there is no request none" in capsys.readouterr().err
    assert unsee("session", "export", folder, "--out", folder, "--overwrite") == 2
    assert "which is read" in capsys.readouterr().err
    toml = (folder / "session.toml").read_text()
    (folder / "session.toml").write_text(toml.replace("steps = 60", "steps = 4"))
    assert unsee("session", "verify", folder) == 1
    assert "session.toml was changed" in capsys.readouterr().err
    (folder / "session.toml").write_text("steps = [")
    assert unsee("session", "forget", folder, *NEVER, "--target", target, "--id", "a") == 2
    assert "session.toml was changed" in capsys.readouterr().err
    (folder / "session.toml").write_text(toml)
    with (folder / "ledger.jsonl").open("a") as file:
        file.write("{}\n")
    assert unsee("session", "verify", folder) == 1
    assert "ledger.jsonl, line 2, cannot be read" in capsys.readouterr().err
    assert unsee("session", "forget", folder, *NEVER, "--target", target, "--id", "a") == 2


def test_what_a_killed_process_left_is_said_by_the_next_command(
    unsee: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "staged").mkdir()
    for command in ("log", "verify", "capacity"):
        assert unsee("session", command, folder) == 0
        said = capsys.readouterr()
        assert "a change is being made, or was cut off and will be discarded" in said.out + said.err
    assert (folder / "staged").exists()
    assert unsee("session", "seal", folder) == 0
    assert "a change that was cut off was discarded" in capsys.readouterr().err
    assert not (folder / "staged").exists()


def test_while_a_request_is_made_the_session_can_be_looked_at_and_not_changed(
    unsee: Run, folder: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store(folder).locked():
        for command in ("log", "verify", "capacity"):
            assert unsee("session", command, folder) == 0
        for words in (("seal",), ("forget", "--target", target, "--id", "a")):
            assert unsee("session", words[0], folder, *words[1:]) == 2
            assert "is open in another process" in capsys.readouterr().err


def test_a_session_has_the_settings_of_a_single_request_and_each_can_be_changed(
    unsee: Run, checkpoint: Path, retained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--model", checkpoint, "--retain", retained)
    assert unsee("session", "init", tmp_path / "plain", *given) == 0
    assert settings.read(tmp_path / "plain" / SETTINGS).method == NSCVF()
    assert unsee("session", "init", tmp_path / "own", *given, "--method", "nscvf", "--reach", "2") == 0
    assert settings.read(tmp_path / "own" / SETTINGS).method == NSCVF(reach=2.0)
    assert unsee("session", "init", "--help") == 0
    said = capsys.readouterr().out
    assert "(default: 2.0)" in said
    assert "unsee session init sessions/shop" in said
