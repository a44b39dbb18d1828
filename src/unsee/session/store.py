"""A folder that changes as a whole or not at all, whatever kills the process, and remembers every change.

A change is first written into the folder STAGED, whole and flushed, the new ledger with it; to rename it READY is to
make the change. What is left then, renaming files to their places, whoever opens the folder next does again.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from unsee.errors import InputError
from unsee.session.ledger import LEDGER, BrokenSessionError, Entry, files_of, following, parse
from unsee.system.disk import file_hash, sync, sync_one

LOCK, STAGED, READY = "lock", "staged", "ready"
REMOVALS = "removals.json"
FILES = "files"
CHUNK = 1 << 20


class LockedError(InputError):
    """Another process has the folder open."""


class Store:
    """An open folder of that kind; nobody else can open it meanwhile. Use it as a context."""

    def __init__(self, folder: Path) -> None:
        """Completes or discards what a killed process left, and says so in `recovered`.

        Raises InputError where it is no such folder or another process has it open, and BrokenSessionError where its
        ledger does not hold.
        """
        if not any((folder / name / LEDGER).is_file() for name in (".", f"{READY}/{FILES}")):
            raise InputError(f"{folder} is no session; make one with unsee session init.")
        self.folder = folder
        self._lock = FileLock(folder / LOCK, timeout=0)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise LockedError(f"{folder} is open in another process; wait until that is done.") from error
        except OSError as error:
            raise InputError(f"{folder} cannot be written to ({error.strerror}); a session must be.") from error
        try:
            self.recovered = self._recover()
            self.entries = parse((folder / LEDGER).read_bytes())
        except OSError as error:
            self.close()
            raise InputError(
                f"{folder} cannot be used ({error.strerror}); free some disk or make it writable."
            ) from error
        except InputError:
            self.close()
            raise

    def close(self) -> None:
        """Lets others open the folder."""
        self._lock.release()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def change(self, event: str, facts: dict[str, Any], remove: Sequence[str] = ()) -> Iterator[Path]:
        """Gives a folder to write files into; when the block ends, they are in their places and `event` is recorded.

        `facts` may still be added to within the block. The files that `remove` names are taken away. Where the block
        raises, or the disk refuses (InputError), nothing has changed.
        """
        staged = self.folder / STAGED
        try:
            (staged / FILES).mkdir(parents=True)
            yield staged / FILES
            entry = _stage(staged, self.entries, event, facts, remove)
            staged.rename(self.folder / READY)
        except BaseException as error:
            shutil.rmtree(staged, ignore_errors=True)
            if isinstance(error, OSError):
                raise InputError(
                    f"{self.folder} could not be written ({error.strerror}); it is as it was before."
                ) from error
            raise
        self.entries.append(entry)
        try:
            sync_one(self.folder)
            self._put_in_place()
        except OSError as error:
            raise InputError(
                f"{self.folder}: the change is made but its files could not be put in place ({error.strerror}); "
                "put the disk right and run any command of the session, which will."
            ) from error

    def _recover(self) -> str:
        said = ""
        if (self.folder / READY).exists():
            self._put_in_place()
            said = "the last change was complete but its files not yet in place; they are now"
        if (self.folder / STAGED).exists():
            shutil.rmtree(self.folder / STAGED)
            said = "a change that was cut off was discarded; the session is as the last complete one left it"
        return said

    def _put_in_place(self) -> None:
        ready = self.folder / READY
        if (ready / REMOVALS).exists():
            written = [path for path in sorted((ready / FILES).rglob("*")) if path.is_file()]
            for path in sorted(written, key=lambda path: path.name == LEDGER):  # the ledger last
                place = self.folder / path.relative_to(ready / FILES)
                place.parent.mkdir(parents=True, exist_ok=True)
                path.replace(place)
                sync_one(place.parent)
            for name in json.loads((ready / REMOVALS).read_text(encoding="utf-8")):
                destroy(self.folder / name)
            sync_one(self.folder)
            (ready / REMOVALS).unlink()
        shutil.rmtree(ready)
        sync_one(self.folder)


def _stage(staged: Path, entries: list[Entry], event: str, facts: dict[str, Any], remove: Sequence[str]) -> Entry:
    """Completes a staged change by the ledger that records it, and flushes all of it."""
    files = staged / FILES
    written = {path.relative_to(files).as_posix(): file_hash(path) for path in files.rglob("*") if path.is_file()}
    entry = following(entries, event, facts, written, list(remove))
    (files / LEDGER).write_bytes(b"".join(each.line() for each in [*entries, entry]))
    (staged / REMOVALS).write_text(json.dumps(list(remove)), encoding="utf-8")
    sync(staged)
    return entry


@contextmanager
def creation(folder: Path, facts: dict[str, Any]) -> Iterator[Path]:
    """Gives a folder to write the first files of a new store into, recorded as the event "init".

    When the block ends, `folder` is there and whole. Raises InputError where it exists or the disk refuses; nothing is
    left then.
    """
    if folder.exists():
        raise InputError(f"{folder} exists already; name another folder for the session.")
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise InputError(f"{parent} does not exist; make it first or name another folder.")
    partial = parent / f".{folder.name}.writing"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        (partial / FILES).mkdir(parents=True)
        yield partial / FILES
        _stage(partial, [], "init", facts, [])
        (partial / FILES).rename(folder)
        sync_one(parent)
    except OSError as error:
        raise InputError(f"{folder} could not be written ({error.strerror}); nothing was left there.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_files(folder: Path, entries: Sequence[Entry]) -> int:
    """Hashes every file of a session; returns how many. Raises BrokenSessionError for the first that is wrong."""
    expected = files_of(entries)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    for name in sorted(expected):
        if name not in found or (folder / name).is_symlink():
            raise BrokenSessionError(f"{name} is missing; restore the session from a copy.")
    for name in sorted(found - expected.keys() - {LEDGER, LOCK}):
        raise BrokenSessionError(f"{name} is not a file of the session: no entry of the ledger speaks of it.")
    check_hashes(folder, expected)
    if (folder / LOCK).exists() and (folder / LOCK).stat().st_size:
        raise BrokenSessionError(f"{LOCK} was changed: it should be empty.")
    return len(expected)


def check_hashes(folder: Path, expected: Mapping[str, str]) -> None:
    """Raises BrokenSessionError for the first of these files that does not have the SHA-256 given for it."""
    for name, digest in sorted(expected.items()):
        if not (folder / name).is_file():
            raise BrokenSessionError(f"{name} is missing; restore the session from a copy.")
        if file_hash(folder / name) != digest:
            raise BrokenSessionError(f"{name} was changed: it is not what the ledger says; restore it from a copy.")


def link(source: Path, place: Path) -> None:
    """Makes `place` the same file as `source`, or a copy where the disk has no hard links."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


def destroy(path: Path) -> None:
    """Takes a file away, overwritten with zeros unless it has another name too; and its folder, where that is empty."""
    if path.exists():
        if path.stat().st_nlink == 1:
            with path.open("r+b") as file:
                for start in range(0, path.stat().st_size, CHUNK):
                    file.write(bytes(min(CHUNK, path.stat().st_size - start)))
                file.flush()
                os.fsync(file.fileno())
        path.unlink()
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()
