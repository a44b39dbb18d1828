"""Disks that are full, refuse, lack something, or cannot be written to; terminals and memory that do not suffice."""

import errno
import fcntl
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from faults import CALLS, failing
from ground import Ground, state_of
from sample import result_file

from tiny_method import TYPED
from unsee.cli import inspect as inspect_command
from unsee.cli.main import main
from unsee.session.audit import verify
from unsee.system import disk

Run = Callable[..., int]
Made = Callable[[Ground], list[object]]
MOST = 40  # calls of one kind that fail in turn
REQUEST = ("--ask", "never", "--keep-anyway")


def report(ground: Ground) -> list[object]:
    return ["report", result_file(ground.place.parent), "--out", ground.place / "new" / "page.html"]


def report_again(ground: Ground) -> list[object]:
    command = ["report", result_file(ground.place.parent), "--out", ground.place / "page.html"]
    assert ground.run(*command) == 0
    return [*command, "--overwrite"]


def moments(ground: Ground) -> list[object]:
    out = ground.place / "m.safetensors"
    return ["moments", "--model", ground.model, "--retain", ground.retained, "--out", out]


def moments_again(ground: Ground) -> list[object]:
    command = moments(ground)
    assert ground.run(*command) == 0
    return [*command, "--overwrite"]


@pytest.fixture
def work(ground: Ground) -> Ground:
    """A ground whose place is a folder of its own, so that what is made beforehand can lie beside it."""
    ground.place = ground.place / "work"
    ground.out = ground.place / "out"
    ground.place.mkdir()
    return ground


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("made", [report, report_again, moments, moments_again], ids=lambda made: made.__name__)
def test_whatever_the_disk_refuses_nothing_is_half_written(made: Made, call: str, work: Ground) -> None:
    """Each call in turn; what was there is as it was, or the new one is whole."""
    for nth in range(1, MOST):
        shutil.rmtree(work.place)
        work.place.mkdir()
        command = made(work)
        before = state_of(work.place)
        with failing(call, nth, work.place) as fault:
            code = work.run(*command)
        said = work.said.readouterr().err
        if not fault.happened:
            assert code == 0
            return
        assert code in (0, 2), said
        assert "Traceback" not in said
        after = {name: part for name, part in state_of(work.place).items() if "/." not in f"/{name}"}
        if code == 2:
            assert "No space left on device" in said
            assert after == before
    pytest.fail(f"more than {MOST} calls")


@pytest.mark.parametrize("call", ["mkdir", "fsync", "rename", "rmdir", "chmod"])
def test_a_request_that_cannot_be_written_keeps_its_state(call: str, work: Ground, target: Path) -> None:
    for nth in range(1, MOST, 3 if call in ("mkdir", "fsync") else 1):
        shutil.rmtree(work.place)
        work.place.mkdir()
        with failing(call, nth, work.place) as fault:
            code = work.run(*work.forget(target, "--keep-anyway"))
        said = work.said.readouterr().err
        if not fault.happened:
            return
        assert "Traceback" not in said
        if code == 2:
            left = sorted(path.name for path in work.place.iterdir())
            assert left in ([], [".out.unfinished"]), said
            kept = (work.place / ".out.unfinished" / "state.pt").exists()
            assert kept == ("run again with --resume" in said)
        else:
            assert (work.out / "unsee.json").exists()
    pytest.fail(f"more than {MOST} calls")


@pytest.mark.parametrize("call", ["mkdir", "file", "fsync", "unlink", "replace", "pwrite"])
@pytest.mark.parametrize("action", ["undo", "seal", "export"])
def test_a_session_whose_change_is_refused_holds(action: str, call: str, once: Path, work: Ground) -> None:
    """Every few calls; it is as it was, or the change is made and the next one puts its files in place."""
    for nth in range(1, MOST, 5 if action == "export" else 2):
        shutil.rmtree(work.place)
        session = Path(shutil.copytree(once, work.place / "s"))
        more = {"undo": ("--id", "first"), "seal": (), "export": ("--out", work.out)}[action]
        with failing(call, nth, work.place) as fault:
            code = work.run("session", action, session, *more)
        said = work.said.readouterr().err
        assert code in (0, 2), said
        assert "Traceback" not in said
        verify(session)
        if not fault.happened:
            return
    pytest.fail(f"more than {MOST} calls")


def lacking(number: int) -> Callable[..., None]:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refused


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP], ids=errno.errorcode.get)
def test_a_disk_without_locks(
    number: int, work: Ground, people: Path, known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", lacking(number))
    session = work.place / "s"
    assert work.run("session", "init", session, "--model", work.model, "--retain", known, *TYPED) == 0
    target = ("--target", people / "concept_0", "--id", "a")
    assert work.run("session", "forget", session, *target, *REQUEST) in (0, 1), work.said.readouterr().err
    assert work.run("session", "verify", session) == 0, work.said.readouterr().err
    work.meets("", *work.forget(people / "concept_0"))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP], ids=errno.errorcode.get)
def test_a_disk_without_flushing_links_and_rights(
    number: int, work: Ground, people: Path, known: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in ("fsync", "link", "chmod", "fchmod"):
        monkeypatch.setattr(os, call, lacking(number))
    session = work.place / "s"
    assert work.run("session", "init", session, "--model", work.model, "--retain", known, *TYPED) == 0
    target = ("--target", people / "concept_0", "--id", "a", "--keep-undo")
    assert work.run("session", "forget", session, *target, *REQUEST) in (0, 1), work.said.readouterr().err
    assert work.run("session", "undo", session, "--id", "a") == 0
    assert work.run("session", "verify", session) == 0
    work.meets("", *work.forget(people / "concept_0", "--link"))


def test_a_copy_that_cannot_be_written_to(once: Path, unsee: Run, tmp_path: Path, monkeypatch) -> None:
    """Whoever runs the tests may be allowed everything, so that it is the calls that refuse."""
    session = Path(shutil.copytree(once, tmp_path / "s"))
    before = state_of(session)
    with monkeypatch.context() as patched:
        for call in ("mkdir", "unlink", "rename", "replace", "rmdir", "link", "chmod", "fchmod"):
            patched.setattr(os, call, lacking(errno.EROFS))
        for command in (("verify",), ("log",), ("capacity",)):
            assert unsee("session", *command, session) == 0
        assert unsee("session", "certificate", session, "first") == 0
    assert state_of(session) == before


def test_a_terminal_that_lacks_letters(work: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was worked for is said all the same."""
    plain = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", plain)
    page = work.place / "Zoë “x”.html"
    assert main(["report", str(result_file(work.place.parent)), "--out", str(page)]) == 0
    plain.flush()
    assert b"Zo\\xeb \\u201cx\\u201d.html" in plain.buffer.getvalue()
    assert page.exists()


@pytest.mark.parametrize(("number", "code"), [(errno.EPIPE, 141), (errno.ENOSPC, 2)], ids=["left", "full"])
def test_an_output_that_nobody_can_read(number: int, code: int, work: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        flush = lacking(number)  # type: ignore[assignment]

    monkeypatch.setattr(sys, "stdout", Broken())
    page = work.place / "page.html"
    assert main(["report", str(result_file(work.place.parent)), "--out", str(page)]) == code
    assert "Traceback" not in work.said.readouterr().err


@pytest.mark.parametrize("given", ["ls methods", "--help"])
@pytest.mark.parametrize(("unbuffered", "reader"), [("", "head -c 1"), ("-u", "true")])
def test_a_reader_that_leaves(given: str, unbuffered: str, reader: str) -> None:
    command = f"{sys.executable} {unbuffered} -m unsee.cli.main {given} | {reader}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert not done.stderr


def test_a_working_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = Path.cwd()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    try:
        assert main(["ls", "methods"]) == 2
    finally:
        os.chdir(here)
    assert "is gone; change into one that is there" in capsys.readouterr().err


def too_much(*_: object, **__: object) -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def no_memory(*_: object, **__: object) -> None:
    raise MemoryError


@pytest.mark.parametrize("fails", [too_much, no_memory], ids=lambda fails: fails.__name__)
def test_memory_that_does_not_suffice(
    fails: Callable[..., None], work: Ground, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it runs out; nothing is left."""
    says = r"the memory does not suffice; try --memory low .* fewer or smaller photos"
    for place in ("unsee.models.checkpoint._visual_part", "unsee.moments.measure.all_features", "unsee.api.request_of"):
        with monkeypatch.context() as patched:
            patched.setattr(place, fails)
            work.meets(says, *work.forget(target))
    with monkeypatch.context() as patched:
        patched.setattr(inspect_command, "describe", fails)
        work.meets(says, "inspect", "--model", work.model)


def test_a_disk_that_knows_rights_and_refuses_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "chmod", lacking(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        disk.allow(tmp_path, 0o700)
