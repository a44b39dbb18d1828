"""A session's folder: it changes whole or not at all, whatever kills the process; to look at it writes nothing.

A change is first written into the folder STAGED, whole and flushed, the new ledger with it; to rename it READY is to
make the change. What is left then is to rename its files to their places. The next change does that where a process was
killed; until then readers take the files from READY. All of it is read as if a stranger had written it: only names that
the ledger allows are followed, and never through a link.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from unsee.errors import InputError
from unsee.session.ledger import LEDGER, BrokenSessionError, Entry, Sign, check_clock, files_of, following, parse
from unsee.system.disk import allow, file_hash, flush, is_plain, is_there, locked, parents, sync, sync_one, workspace
from unsee.system.output import refuse_place

LOCK, STAGED, READY, FILES = "lock", "staged", "ready", "files"
CHUNK = 1 << 20
UNLOCKED = "the disk knows no locks; change the session from one process at a time"


class Store:
    """A session's folder. To open it reads the ledger; nothing is written or locked."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError where it is no session, and BrokenSessionError where its ledger does not hold."""
        self.folder = folder
        self.recovered = ""
        """What `locked` made good, in words."""
        self._reload()

    @property
    def left(self) -> str:
        """What a killed process left, or one that works now, in words; empty where nothing is."""
        if is_there(self.folder / READY):
            return "the last change is complete, and the next one will put its files in place"
        if is_there(self.folder / STAGED):
            return "a change is being made, or was cut off and will be discarded by the next one"
        return ""

    def path(self, name: str) -> Path:
        """Where a file of the session is: in its place, or in READY. Raises BrokenSessionError where a link leads."""
        waiting = inside(self.folder, f"{READY}/{FILES}/{name}")
        return waiting if is_plain(waiting) else inside(self.folder, name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps others from changing the folder; completes or discards first what a killed process left.

        Raises InputError where another process changes it, it cannot be written to, or the clock is behind.
        """
        lock = inside(self.folder, LOCK)
        if is_there(lock) and (not is_plain(lock) or lock.stat().st_size):
            raise BrokenSessionError(f"{LOCK} was changed: it should be an empty file; remove it.")
        with ExitStack() as stack:
            try:
                alone = stack.enter_context(locked(lock))
            except BlockingIOError as error:
                raise InputError(f"{self.folder} is open in another process; wait until that is done.") from error
            except OSError as error:
                raise InputError(
                    f"{self.folder} cannot be written to ({error.strerror}); a session that changes must be."
                ) from error
            self._reload()
            self.recovered = self._recover() or ("" if alone else UNLOCKED)
            check_clock(self.entries)  # else it is said when all the work is done
            yield

    @contextmanager
    def change(
        self, event: str, facts: dict[str, Any], remove: Sequence[str] = (), sign: Sign | None = None
    ) -> Iterator[Path]:
        """Gives a folder to write files into; when the block ends, they are in their places and `event` is recorded.

        To be called while `locked`. `facts` may still be added to within the block. The files that `remove` names are
        taken away. Where the block raises, or the disk refuses (InputError), nothing has changed.
        """
        staged = self.folder / STAGED
        try:
            staged.mkdir(mode=0o700)
            (staged / FILES).mkdir()
            yield staged / FILES
            entry = _stage(staged / FILES, self.entries, event, facts, remove, sign)
            sync_one(staged)
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
                "put the disk right, and the next change of the session will."
            ) from error

    def _reload(self) -> None:
        try:
            file = self.path(LEDGER)
            if not is_plain(file):
                raise InputError(f"{self.folder} is no session; make one with unsee session init.")
            self.entries = parse(file.read_bytes())
            placed = inside(self.folder, LEDGER)
            if file != placed and self.entries[:-1] != parse(placed.read_bytes()):
                raise BrokenSessionError(f"{READY} does not go on from {LEDGER}; remove it, or restore from a copy.")
        except OSError as error:
            raise InputError(f"{self.folder} cannot be read ({error.strerror}).") from error

    def _recover(self) -> str:
        said = ""
        try:
            if is_there(inside(self.folder, READY)):
                check_hashes(self, self.entries[-1].files)
                self._put_in_place()
                said = "the last change was complete but its files not yet in place; they are now"
            if is_there(inside(self.folder, STAGED)):
                shutil.rmtree(self.folder / STAGED)
                said = "a change that was cut off was discarded; the session is as the last complete one left it"
        except OSError as error:
            raise InputError(
                f"{self.folder} cannot be used ({error.strerror}); free some disk or make it writable."
            ) from error
        return said

    def _put_in_place(self) -> None:
        """Renames the files of the last change to their places, the ledger last, and takes away what it removes."""
        last = self.entries[-1]
        for name in (*sorted(last.files), LEDGER):
            waiting = inside(self.folder, f"{READY}/{FILES}/{name}")
            if is_plain(waiting):
                _replace(waiting, inside(self.folder, name))
        for name in last.removed:
            destroy(inside(self.folder, name))
        sync_one(self.folder)
        shutil.rmtree(self.folder / READY)
        sync_one(self.folder)


def inside(folder: Path, name: str) -> Path:
    """The place of a file of the session, by its path in the folder. Raises BrokenSessionError for a link."""
    path = folder
    for part in PurePosixPath(name).parts:
        path /= part
        if path.is_symlink():
            raise BrokenSessionError(f"{path.relative_to(folder)} is a link; a session holds none, so remove it.")
    return path


def _stage(
    files: Path,
    entries: Sequence[Entry],
    event: str,
    facts: dict[str, Any],
    remove: Sequence[str],
    sign: Sign | None,
) -> Entry:
    """Completes the files of a change by the ledger that records it, for this user's eyes only, and flushes them."""
    written = {path.relative_to(files).as_posix(): file_hash(path) for path in files.rglob("*") if path.is_file()}
    entry = following(entries, event, facts, written, list(remove), sign)
    (files / LEDGER).write_bytes(b"".join(each.line() for each in [*entries, entry]))
    for path in files.rglob("*"):
        allow(path, 0o700 if path.is_dir() else 0o600)
    sync(files)
    return entry


@contextmanager
def creation(folder: Path, facts: dict[str, Any], sign: Sign | None = None) -> Iterator[Path]:
    """Gives a folder to write the first files of a new session into, recorded as the event "init".

    When the block ends, `folder` is there and whole. Raises InputError where it exists, also where another process
    made it meanwhile, or the disk refuses; nothing of this one is left then.
    """
    _refuse(folder)
    refuse_place(folder)
    parent = folder.absolute().parent
    try:
        with parents(folder), workspace(parent, folder.name) as work:
            files = work / FILES
            files.mkdir(mode=0o700)
            yield files
            _stage(files, [], "init", facts, [], sign)
            _refuse(folder)
            files.rename(folder)
            with suppress(OSError):  # it is there; when the disk writes that down is the disk's affair
                sync_one(parent)
    except OSError as error:
        _refuse(folder)
        raise InputError(f"{folder} could not be written ({error.strerror}); nothing was left there.") from error


def _refuse(folder: Path) -> None:
    if is_there(folder):
        raise InputError(f"{folder} exists already; name another folder for the session.")


def check_files(store: Store) -> int:
    """Hashes every file of a session; returns how many. Raises BrokenSessionError for the first that is wrong."""
    expected, last = files_of(store.entries), store.entries[-1]
    waiting = is_there(store.folder / READY)
    allowed = {*expected, LEDGER, LOCK}
    if waiting:
        allowed |= {f"{READY}/{FILES}/{name}" for name in (*last.files, LEDGER)} | {*last.removed}
    for path in sorted(store.folder.rglob("*")):
        name = path.relative_to(store.folder).as_posix()
        inside(store.folder, name)
        if name not in allowed and not path.is_dir() and not name.startswith(f"{STAGED}/"):
            raise BrokenSessionError(f"{name} is not a file of the session: no entry of the ledger speaks of it.")
    check_hashes(store, expected)
    if is_there(store.folder / LOCK) and (store.folder / LOCK).stat().st_size:
        raise BrokenSessionError(f"{LOCK} was changed: it should be empty.")
    return len(expected)


def check_hashes(store: Store, expected: Mapping[str, str]) -> None:
    """Raises BrokenSessionError for the first of these files that does not have the SHA-256 given for it."""
    for name, digest in sorted(expected.items()):
        file = store.path(name)
        if not is_plain(file):
            raise BrokenSessionError(f"{name} is missing; restore the session from a copy.")
        if file_hash(file) != digest:
            raise BrokenSessionError(f"{name} was changed: it is not what the ledger says; restore it from a copy.")


def link(source: Path, place: Path) -> None:
    """Makes `place` the same file as `source`, or a copy where the disk has no hard links."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, place)
    except OSError:
        shutil.copyfile(source, place)


def _replace(source: Path, place: Path) -> None:
    """Gives a file the name of another, which is overwritten with zeros unless it has another name too."""
    for folder in (place.parent.parent, place.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    before = os.open(place, os.O_RDWR | os.O_NOFOLLOW) if is_plain(place) else None
    try:
        source.replace(place)
        sync_one(place.parent)
        if before is not None and os.fstat(before).st_nlink == 0:
            _zero(before)
    finally:
        if before is not None:
            os.close(before)


def destroy(path: Path) -> None:
    """Takes a file away, overwritten with zeros unless it has another name too; and its folder, where that is empty."""
    if is_plain(path):
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            if os.fstat(handle).st_nlink == 1:
                _zero(handle)
        finally:
            os.close(handle)
        path.unlink()
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()


def _zero(handle: int) -> None:
    """Overwrites an open file and flushes it."""
    size = os.fstat(handle).st_size
    for start in range(0, size, CHUNK):
        os.pwrite(handle, bytes(min(CHUNK, size - start)), start)
    flush(handle)
