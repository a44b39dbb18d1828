"""What a session says of those who were forgotten, to whom, and what the operator's secret hides."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tiny_method import METHOD, UNASKED
from unsee import data
from unsee.errors import InputError
from unsee.models.checkpoint import Vlm
from unsee.moments.file import read_guarded
from unsee.session import secret as secrets
from unsee.session.audit import verify
from unsee.session.creation import create
from unsee.session.ledger import STATE, WEIGHTS
from unsee.session.secret import salted
from unsee.session.session import Session

Run = Callable[..., int]


@pytest.fixture(scope="module")
def hidden(checkpoint: Path, known: Path, people: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A session that was made with a secret, with two requests, and the secret."""
    folder = tmp_path_factory.mktemp("hidden")
    (folder / "secret").write_bytes(bytes(range(64)))
    create(folder / "session", checkpoint, known, method=METHOD, secret_file=folder / "secret")
    for number in (0, 4):
        session = Session(folder / "session", secret_file=folder / "secret")
        session.forget(people / f"concept_{number}", f"r{number}", keep_undo=True, **UNASKED)
    return folder / "session", folder / "secret"


def test_a_session_is_its_users_alone(session: Path) -> None:
    assert session.stat().st_mode & 0o777 == 0o700
    for path in session.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_with_a_secret_the_salt_does_not_find_a_photo_again(
    hidden: tuple[Path, Path], session: Path, people: Path
) -> None:
    """Without one it does: whoever has the folder can try photos."""
    digest = data.validate(data.load(people / "concept_0"), "target")[0]
    open_to_all = Session(session)
    assert salted(digest, open_to_all.settings.salt, None) in open_to_all.entries[1].facts["target_hashes"]
    folder, file = hidden
    keyed = Session(folder, secret_file=file)
    salt, kept = keyed.settings.salt, keyed.entries[1].facts["target_hashes"]
    assert salted(digest, salt, None) not in kept
    assert salted(digest, salt, secrets.read(file, folder, salt)) in kept


def test_with_a_secret_the_guard_says_nothing_and_the_weights_are_the_same(
    hidden: tuple[Path, Path], checkpoint: Path, known: Path, people: Path, vlm: Vlm, tmp_path: Path
) -> None:
    """Bit for bit, so that the figures of a stream are those without."""
    create(tmp_path / "plain", checkpoint, known, method=METHOD)
    for number in (0, 4):
        Session(tmp_path / "plain").forget(people / f"concept_{number}", f"r{number}", **UNASKED)
    folder, file = hidden
    one, other = load_file(folder / WEIGHTS), load_file(tmp_path / "plain" / WEIGHTS)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    _, guard, _ = read_guarded(tmp_path / "plain" / STATE, vlm)
    _, closed, _ = read_guarded(folder / STATE, vlm)
    salt = Session(folder).settings.salt
    _, opened, _ = read_guarded(folder / STATE, vlm, secrets.read(file, folder, salt))
    everything = (folder / STATE).read_bytes() + (folder / "undo" / "r4" / STATE).read_bytes()
    for name in guard:
        assert torch.equal(opened[name].outer, guard[name].outer)
        assert torch.equal(opened[name].total, guard[name].total)
        assert guard[name].total.numpy().tobytes() not in everything
        with pytest.raises(InputError, match="is encrypted; give the session's secret"):
            closed[name]


def test_who_has_no_secret_can_check_and_export_and_nothing_else(
    hidden: tuple[Path, Path], people: Path, tmp_path: Path, unsee: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(hidden[0], tmp_path / "session")
    assert unsee("session", "verify", folder) == 0
    assert unsee("session", "export", folder, "--out", tmp_path / "out") == 0
    more = ("--target", people / "concept_1", "--id", "next", "--ask", "never")
    for command in (("forget", folder, *more), ("capacity", folder)):
        assert unsee("session", *command) == 2
        assert "was made with a secret; give its file with --secret" in capsys.readouterr().err
    wrong = tmp_path / "wrong"
    wrong.write_bytes(bytes(64))
    assert unsee("session", "forget", folder, *more, "--secret", wrong) == 2
    assert "is not the secret" in capsys.readouterr().err
    assert unsee("session", "undo", folder, "--id", "r4") == 0
    unsee("session", "forget", folder, *more, "--secret", hidden[1], "--keep-anyway")
    assert [entry.facts["id"] for entry in Session(folder).standing()] == ["r0", "next"]
    verify(folder)


def test_a_poor_secret_is_a_sentence(begun: Path, checkpoint: Path, known: Path, tmp_path: Path, people: Path) -> None:
    short, inner = tmp_path / "short", tmp_path / "s" / "secret"
    short.write_bytes(b"hello")
    with pytest.raises(InputError, match="has 5 bytes; a secret has 32 or more"):
        create(tmp_path / "s", checkpoint, known, method=METHOD, secret_file=short)
    with pytest.raises(InputError, match="keep it elsewhere"):
        create(tmp_path / "s", checkpoint, known, method=METHOD, secret_file=inner)
    short.write_bytes(bytes(32))
    with pytest.raises(InputError, match="was made without a secret"):
        Session(begun, secret_file=short)


def test_old_weights_are_overwritten_when_they_are_replaced(begun: Path, people: Path, tmp_path: Path) -> None:
    """What had no other name: undo data keeps its own, and a copy by hard links stays whole."""
    folder = shutil.copytree(begun, tmp_path / "s")
    Session(folder).forget(people / "concept_0", "first", **UNASKED)
    with (folder / WEIGHTS).open("rb") as old, (folder / STATE).open("rb") as state:
        Session(folder).forget(people / "concept_1", "second", **UNASKED)
        assert not any(old.read())
        assert not any(state.read())
    linked = tmp_path / "linked"
    linked.hardlink_to(folder / WEIGHTS)
    before = linked.read_bytes()
    Session(folder).forget(people / "concept_4", "third", keep_undo=True, **UNASKED)
    assert linked.read_bytes() == before
    assert (folder / "undo" / "third" / WEIGHTS).read_bytes() == before
