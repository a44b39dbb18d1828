"""A session's folder changes whole or not at all, wherever it is killed, and no changed byte goes unseen."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unsee.errors import InputError
from unsee.session import ledger
from unsee.session.ledger import LEDGER, SETTINGS, STATE, WEIGHTS, BrokenSessionError, canonical, files_of, parse
from unsee.session.store import LOCK, READY, STAGED, Store, check_files, creation, destroy, link


def made(folder: Path) -> Path:
    with creation(folder, {"weights_after": "w0", "retained_images": 1, "model_files": {}}) as files:
        (files / SETTINGS).write_text("")
        (files / STATE).write_bytes(b"state 0")
        (files / WEIGHTS).write_bytes(b"weights 0")
    return folder


def request(number: int) -> dict[str, object]:
    weights = {"weights_before": f"w{number - 1}", "weights_after": f"w{number}"}
    return {"id": f"r{number}", "reason": "", "target_hashes": [], "undo_kept": True, **weights}


def add(store: Store, number: int) -> None:
    """A change that replaces files, adds one and keeps the old under another name; before every third, one that only
    removes."""
    with store.locked():
        if number % 3 == 0:
            with store.change("seal", {"requests": 2}, remove=undo_data(store)):
                pass
        with store.change("forget", request(number)) as files:
            for name in (STATE, WEIGHTS):
                link(store.path(name), files / f"undo/r{number}/{name}")
                (files / name).write_bytes(b"%s %d" % (name.partition(".")[0].encode(), number))
            (files / "certificates").mkdir()
            (files / f"certificates/r{number}.json").write_text(f'{{"id": "r{number}"}}')


def undo_data(store: Store) -> list[str]:
    return [name for name in files_of(store.entries) if name.startswith("undo/")]


def holds(folder: Path) -> int:
    """How many requests a folder has, every file of it being as the ledger says, before and after it is made good."""
    store = Store(folder)
    check_files(store)
    seen = (store.path(STATE).read_bytes(), store.entries)
    with store.locked():
        check_files(store)
    assert (store.path(STATE).read_bytes(), store.entries) == seen
    requests = [entry.facts["id"] for entry in store.entries if entry.event == "forget"]
    assert seen[0] == b"state %d" % len(requests)
    assert requests == [f"r{number + 1}" for number in range(len(requests))]
    assert not (folder / STAGED).exists()
    assert not (folder / READY).exists()
    return len(requests)


def test_a_change_is_whole_and_remembered(tmp_path: Path) -> None:
    folder = made(tmp_path / "s")
    for number in (1, 2, 3):
        store = Store(folder)
        add(store, number)
        assert (store.recovered, store.left) == ("", "")
        assert holds(folder) == number
    assert (folder / "undo/r3" / STATE).read_bytes() == b"state 2"
    assert sorted(path.name for path in (folder / "undo").iterdir()) == ["r3"]


def test_a_change_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    folder = made(tmp_path / "s")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    store = Store(folder)
    with pytest.raises(KeyError), store.locked(), store.change("forget", {}) as files:  # noqa: PT012
        (files / STATE).write_bytes(b"half")
        raise KeyError
    assert len(store.entries) == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != LOCK} == before


@pytest.mark.parametrize("at", range(1, 9))
def test_a_full_disk_leaves_everything_as_it_was_or_is_made_good(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, calls, flush = made(tmp_path / "s"), [0], os.fsync

    def full(handle: int) -> None:
        calls[0] += 1
        if calls[0] >= at:
            raise OSError(28, "No space left on device")
        flush(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="No space left on device"):
            add(Store(folder), 1)
    assert holds(folder) in (0, 1)


def die_after(calls: int, run: Callable[[], None]) -> bool:
    """Runs in a process of its own that is gone at its n-th call to the disk; whether it was."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = [calls]

    def dying(function: Callable[..., object]) -> Callable[..., object]:
        def called(*args: object, **kwargs: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                os._exit(9)
            return function(*args, **kwargs)

        return called

    try:
        for name in ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir", "link"):
            setattr(os, name, dying(getattr(os, name)))
        run()
    finally:
        os._exit(0)


def test_a_process_killed_anywhere_leaves_the_last_complete_request(tmp_path: Path) -> None:
    """At every call to the disk of two changes, one after the other, and again while that is made good."""

    def change() -> None:
        add(Store(work), 3)

    def open_and_close() -> None:
        with Store(work).locked():
            pass

    start = made(tmp_path / "start")
    for number in (1, 2):
        add(Store(start), number)
    seen = set()
    for calls in range(1000):
        work = shutil.copytree(start, tmp_path / f"work_{calls}")
        if not die_after(calls, change):
            assert holds(work) == 3
            break
        twice = shutil.copytree(work, tmp_path / f"twice_{calls}")
        seen.add(holds(work))
        work = twice
        for again in range(0, 1000, 5):
            if not die_after(again, open_and_close):
                break
        seen.add(holds(twice))
    assert calls > 40
    assert seen == {2, 3}


def test_what_a_killed_process_left_is_said(tmp_path: Path) -> None:
    folder = made(tmp_path / "s")
    (folder / STAGED).mkdir()
    (folder / STAGED / "half").write_text("half")
    store = Store(folder)
    assert "was cut off" in store.left
    assert (folder / STAGED / "half").exists()
    with store.locked():
        assert "discarded" in store.recovered
    assert store.left == ""


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "s")
    with Store(folder).locked(), pytest.raises(InputError, match="is open in another process"), Store(folder).locked():
        pass
    assert holds(folder) == 0


def test_a_clock_that_goes_backwards_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made(tmp_path / "s")

    class Earlier(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) - timedelta(days=1)

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "datetime", Earlier)
        with pytest.raises(InputError, match="before the last entry of the ledger"):
            add(Store(folder), 1)
    assert holds(folder) == 0


def test_a_folder_that_is_no_session_or_there_already_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no session; make one with unsee session init"):
        Store(tmp_path)
    with pytest.raises(InputError, match="exists already"):
        made(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file is no folder, so that nothing can be written below it"):
        made(tmp_path / "file" / "a" / "b")
    (tmp_path / "file").unlink()
    with pytest.raises(ZeroDivisionError), creation(tmp_path / "new" / "s", {}):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = made(tmp_path_factory.mktemp("kept") / "s")
    for number in (1, 2, 3):
        add(Store(folder), number)
    return folder


@settings(
    deadline=None, derandomize=True, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_changed_byte_anywhere_is_found(kept: Path, data: st.DataObject) -> None:
    files = sorted(path for path in kept.rglob("*") if path.is_file() and path.stat().st_size)
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    changed = bytearray(content)
    kind = data.draw(st.sampled_from(["change", "insert", "delete", "cut"]))
    if kind == "change":
        changed[place] ^= data.draw(st.integers(1, 255))
    elif kind == "insert":
        changed.insert(place, data.draw(st.integers(0, 255)))
    elif kind == "delete":
        del changed[place]
    else:
        del changed[place:]
    try:
        path.write_bytes(changed)
        if changed == content:
            return
        with pytest.raises(BrokenSessionError):
            check_files(Store(kept))
    finally:
        path.write_bytes(content)
    check_files(Store(kept))


def test_a_line_more_or_less_or_elsewhere_is_found(kept: Path) -> None:
    lines = (kept / LEDGER).read_bytes().splitlines(keepends=True)
    entries = parse(b"".join(lines))
    wrong = (lines[1:], lines[:2] + lines[3:], [lines[0], lines[2], lines[1], *lines[3:]], [*lines, lines[-1]], [])
    for changed in wrong:
        with pytest.raises(BrokenSessionError):
            parse(b"".join(changed))
    (kept / LEDGER).write_bytes(b"".join(lines[:-1]))
    with pytest.raises(BrokenSessionError, match=r"certificates/r3.json is not a file of the session"):
        check_files(Store(kept))
    (kept / LEDGER).write_bytes(b"".join(lines))
    assert set(files_of(entries)) == {
        SETTINGS,
        STATE,
        WEIGHTS,
        f"undo/r3/{STATE}",
        f"undo/r3/{WEIGHTS}",
        "certificates/r1.json",
        "certificates/r2.json",
        "certificates/r3.json",
    }


@pytest.mark.parametrize(
    "line", [b"{}\n", b"[]\n", b"null\n", b"{\n", b"\xff\n", b"\n", b"[" * 100_000 + b"\n", b'{"hash":NaN}\n']
)
def test_a_line_that_is_no_entry_is_a_sentence(kept: Path, line: bytes) -> None:
    with pytest.raises(BrokenSessionError, match=r"ledger.jsonl, line 6, cannot be read"):
        parse((kept / LEDGER).read_bytes() + line)


def test_a_missing_and_an_added_file_are_named(kept: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(kept, tmp_path / "s")
    store = Store(folder)
    (folder / "extra").write_text("")
    with pytest.raises(BrokenSessionError, match="extra is not a file of the session"):
        check_files(store)
    (folder / "extra").unlink()
    (folder / STATE).unlink()
    with pytest.raises(BrokenSessionError, match=r"state.safetensors is missing"):
        check_files(store)
    (folder / STATE).symlink_to(shutil.copyfile(kept / STATE, tmp_path / "elsewhere"))
    with pytest.raises(BrokenSessionError, match=r"state.safetensors is a link"):
        check_files(store)


def test_destroyed_bytes_are_overwritten_unless_they_are_another_file_too(tmp_path: Path) -> None:
    one, watching = tmp_path / "undo" / "one", tmp_path / "two"
    one.parent.mkdir()
    one.write_bytes(b"secret")
    with one.open("rb") as inside:
        destroy(one)
        assert inside.read() == bytes(6)
    assert not one.parent.exists()
    watching.write_bytes(b"kept")
    link(watching, one)
    destroy(one)
    assert watching.read_bytes() == b"kept"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_canonical_json_is_one_line_whatever_the_order(value: object) -> None:
    text = canonical(value)
    assert b"\n" not in text
    assert canonical(json.loads(text)) == text
