"""A session's folder from a stranger: no command writes outside it or runs what it brings along."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tiny_method import TYPED, UNASKED
from unsee.errors import InputError
from unsee.session.ledger import LEDGER, SETTINGS, STATE, WEIGHTS, Entry, parse
from unsee.session.session import Session
from unsee.session.store import LOCK, READY, STAGED, Store
from unsee.testing import tiny_checkpoint

Run = Callable[..., int]
Trap = Callable[[Path, Path], None]

LOOKING = ("log", "verify", "capacity", "export")
CHANGING = ("forget", "undo", "seal")
CODE = """
from pathlib import Path
Path({canary!r}).write_text("ran")
from transformers import LlavaConfig, LlavaForConditionalGeneration
class Config(LlavaConfig):
    model_type = "strange"
class Model(LlavaForConditionalGeneration):
    config_class = Config
"""


def tree(folder: Path) -> dict[str, tuple[object, ...]]:
    """Every name under a folder with what it is, when it was last changed, and what it holds."""
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        held = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_mtime_ns, held)
    return found


def forge(session: Path, line: Callable[[Entry], dict[str, object]]) -> None:
    """Puts a changed last line under READY, as if a process had been killed just then."""
    entries = parse((session / LEDGER).read_bytes())
    last = entries[-1]
    values = {"number": last.number + 1, "time": last.time, "event": "seal", "facts": {"requests": 0}, "files": {}}
    values |= {"removed": [], "previous": last.hash}
    made = Entry(**{**values, **line(last)}).sealed()  # type: ignore[arg-type]
    (session / READY / "files").mkdir(parents=True, exist_ok=True)
    (session / READY / "files" / LEDGER).write_bytes(b"".join(each.line() for each in [*entries, made]))


def removals_up(session: Path, victim: Path) -> None:
    (session / READY / "files").mkdir(parents=True)
    (session / READY / "removals.json").write_text(json.dumps([f"../{victim.parent.name}/{victim.name}"]))


def removals_absolute(session: Path, victim: Path) -> None:
    (session / READY / "files").mkdir(parents=True)
    (session / READY / "removals.json").write_text(json.dumps([str(victim)]))


def ledger_removes_outside(session: Path, victim: Path) -> None:
    forge(session, lambda _: {"removed": [f"../{victim.parent.name}/{victim.name}"]})


def ledger_removes_absolute(session: Path, victim: Path) -> None:
    forge(session, lambda _: {"removed": [str(victim)]})


def ledger_writes_outside(session: Path, victim: Path) -> None:
    forge(session, lambda last: {"files": {f"../{victim.parent.name}/{victim.name}": last.files[STATE]}})


def file_behind_a_link(session: Path, victim: Path) -> None:
    (session / "k").symlink_to(victim.parent)
    (session / READY / "files" / "k").mkdir(parents=True)
    (session / READY / "files" / "k" / victim.name).write_text("mine now")
    (session / READY / "removals.json").write_text("[]")


def undo_behind_a_link(session: Path, victim: Path) -> None:
    shutil.rmtree(session / "undo")
    (session / "undo").symlink_to(victim.parent)


def undo_data_is_a_link(session: Path, victim: Path) -> None:
    for name in (STATE, WEIGHTS):
        (session / "undo" / "first" / name).unlink()
        (session / "undo" / "first" / name).symlink_to(victim)


def state_is_a_link(session: Path, victim: Path) -> None:
    (session / STATE).unlink()
    (session / STATE).symlink_to(victim)


def lock_is_a_link(session: Path, victim: Path) -> None:
    (session / LOCK).unlink(missing_ok=True)
    (session / LOCK).symlink_to(victim)


def staged_is_a_link(session: Path, victim: Path) -> None:
    (session / STAGED).symlink_to(victim.parent)


def ready_is_a_link(session: Path, victim: Path) -> None:
    (victim.parent / "files").mkdir()
    (session / READY).symlink_to(victim.parent)


def certificates_are_a_link(session: Path, victim: Path) -> None:
    shutil.rmtree(session / "certificates")
    (session / "certificates").symlink_to(victim.parent)


TRAPS: tuple[Trap, ...] = (
    removals_up,
    removals_absolute,
    ledger_removes_outside,
    ledger_removes_absolute,
    ledger_writes_outside,
    file_behind_a_link,
    undo_behind_a_link,
    undo_data_is_a_link,
    state_is_a_link,
    lock_is_a_link,
    staged_is_a_link,
    ready_is_a_link,
    certificates_are_a_link,
)


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.__name__)
def test_no_command_writes_outside(trap: Trap, session: Path, people: Path, unsee: Run, tmp_path: Path) -> None:
    victim = tmp_path / "outside" / "file"
    victim.parent.mkdir()
    victim.write_text("not yours")
    trap(session, victim)
    outside, inside = tree(victim.parent), tree(session)
    asked = {
        "forget": ("--target", people / "concept_1", "--id", "second", "--keep-undo", "--ask", "never"),
        "undo": ("--id", "first"),
        "export": ("--out", tmp_path / "out"),
    }
    for action in LOOKING:
        unsee("session", action, session, *asked.get(action, ()))
        assert tree(session) == inside
    for action in CHANGING:
        unsee("session", action, session, *asked.get(action, ()))
    assert tree(victim.parent) == outside


def test_seal_destroys_what_the_ledger_names_alone(session: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("not yours")
    (session / "undo" / "more").mkdir()
    (session / "undo" / "more" / STATE).symlink_to(victim)
    Session(session).seal()
    assert victim.read_text() == "not yours"
    assert (session / "undo" / "more" / STATE).is_symlink()


@pytest.fixture
def strange(tmp_path: Path, known: Path, unsee: Run) -> tuple[Path, Path]:
    """A session on a model with its own code, whose settings say that it is trusted; and what that code writes."""
    canary, model, session = tmp_path / "canary", tiny_checkpoint(tmp_path / "model"), tmp_path / "session"
    (model / "strange.py").write_text(CODE.format(canary=str(canary)))
    config = json.loads((model / "config.json").read_text())
    auto = {"AutoConfig": "strange.Config", "AutoModelForImageTextToText": "strange.Model"}
    (model / "config.json").write_text(json.dumps(config | {"model_type": "strange", "auto_map": auto}))
    data = ("--model", model, "--retain", known)
    assert unsee("session", "init", session, *data, "--trust-remote-code", *TYPED) == 0
    assert canary.exists()
    canary.unlink()
    toml = (session / SETTINGS).read_text().replace("[session]\n", "[session]\ntrust_remote_code = true\n")
    rewrite(session, SETTINGS, toml.encode())
    return session, canary


def rewrite(session: Path, name: str, content: bytes) -> None:
    """Changes a file of a session that has only begun, and makes the ledger say so."""
    import hashlib

    (session / name).write_bytes(content)
    (first,) = parse((session / LEDGER).read_bytes())
    files = first.files | {name: hashlib.sha256(content).hexdigest()}
    values = {key: value for key, value in vars(first).items() if key not in ("hash", "signature", "files")}
    (session / LEDGER).write_bytes(Entry(**values, files=files).sealed().line())


def test_no_command_runs_code_because_the_session_says_so(
    strange: tuple[Path, Path], people: Path, unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session, canary = strange
    assert unsee("session", "log", session) == 0
    for action, more in (
        ("verify", ()),
        ("capacity", ()),
        ("export", ("--out", tmp_path / "out")),
        ("forget", ("--target", people / "concept_1", "--id", "a", "--ask", "never")),
    ):
        assert unsee("session", action, session, *more) == 2
        assert "add --trust-remote-code if you trust it" in capsys.readouterr().err
        assert not canary.exists()
    assert unsee("session", "verify", session, "--trust-remote-code") == 0


def test_settings_of_the_wrong_kind_are_a_sentence(begun: Path, unsee: Run, tmp_path: Path) -> None:
    for name, value in (("model", "3"), ("seed", '"x"'), ("guard", "[1]"), ("memory", '"huge"'), ("guard", "-1")):
        session = shutil.copytree(begun, tmp_path / f"{name}{len(value)}")
        lines = (session / SETTINGS).read_text().splitlines()
        changed = [f"{name} = {value}" if line.startswith(f"{name} =") else line for line in lines]
        rewrite(session, SETTINGS, "\n".join(changed).encode())
        assert unsee("session", "capacity", session) == 2
        assert unsee("session", "verify", session) == 1


def test_a_model_of_the_hub_is_not_fetched_because_the_session_says_so(begun: Path, tmp_path: Path) -> None:
    for name in ("hf://some/model", "some/model"):
        session = shutil.copytree(begun, tmp_path / name.replace("/", "_"))
        toml = (session / SETTINGS).read_text().splitlines()
        lines = [f'model = "{name}"' if line.startswith("model =") else line for line in toml]
        rewrite(session, SETTINGS, "\n".join(lines).encode())
        with pytest.raises(InputError, match="is not there"):
            Session(session).capacity()


def test_looking_needs_no_right_to_write(session: Path, unsee: Run, tmp_path: Path) -> None:
    (session / LOCK).unlink()
    before = tree(session)
    session.chmod(0o500)  # means nothing to root, for whom the tree is compared
    try:
        for action in LOOKING:
            more = ("--out", tmp_path / "out") if action == "export" else ()
            assert unsee("session", action, session, *more) == 0
    finally:
        session.chmod(0o700)
    assert tree(session) == before


def test_what_a_killed_process_left_is_read_where_it_is(session: Path, people: Path, tmp_path: Path) -> None:
    """A change that is complete, but whose files are not in place, counts for who looks, and nothing is moved."""
    later = shutil.copytree(session, tmp_path / "later")
    Session(later).forget(people / "concept_1", "second", **UNASKED)
    (session / READY / "files").mkdir(parents=True)
    for name in (LEDGER, STATE, WEIGHTS, "certificates/second.json"):
        (session / READY / "files" / name).parent.mkdir(exist_ok=True)
        shutil.copy(later / name, session / READY / "files" / name)
    before = tree(session)
    assert [entry.facts["id"] for entry in Session(session).standing()] == ["first", "second"]
    from unsee.session.audit import verify

    assert verify(session).endswith("the last change is complete, and the next one will put its files in place")
    assert tree(session) == before
    with Store(session).locked():
        assert not (session / READY).exists()
    assert (session / STATE).read_bytes() == (later / STATE).read_bytes()


def test_files_of_a_killed_process_that_are_not_what_the_ledger_says_are_not_put_in_place(
    session: Path, people: Path, tmp_path: Path
) -> None:
    later = shutil.copytree(session, tmp_path / "later")
    Session(later).forget(people / "concept_1", "second", **UNASKED)
    (session / READY / "files").mkdir(parents=True)
    shutil.copy(later / LEDGER, session / READY / "files" / LEDGER)
    (session / READY / "files" / STATE).write_bytes(b"anything")
    before = tree(session)
    with pytest.raises(InputError, match=r"state.safetensors was changed"):
        Session(session).seal()
    with pytest.raises(InputError, match=r"is missing"), Store(session).locked():
        pass
    assert {name: held for name, held in tree(session).items() if name not in (".", LOCK)} == {
        name: held for name, held in before.items() if name not in (".", LOCK)
    }


def test_text_of_a_ledger_does_not_steer_the_terminal(
    session: Path, people: Path, unsee: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    Session(session).forget(
        people / "concept_1", "second", reason="\x1b]0;owned\x07\x1b[2Jgone\u202etxt.exe", **UNASKED
    )
    assert unsee("session", "log", session) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "gone" in "".join(out.split())
