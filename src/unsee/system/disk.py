"""Files and folders as wholes: hashes, flushing, working folders that nobody else uses, and what is no link."""

import errno
import fcntl
import glob
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unsee.errors import InputError
from unsee.system.signals import exposed, shielded

FICLONE = 0x40049409  # of linux/fs.h
REPLACED = "replaced"  # in a working folder, what has had the output's name until now
LACKING = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EOPNOTSUPP)  # what a disk says of what it cannot do
COARSEST = 2.0  # seconds between two times that every file system tells apart; FAT's
_read: dict[tuple[int, ...], str] = {}  # hashes of files as they were
YOUNG = 60.0  # seconds for which an empty working folder may be one that is just being made


def at_home(path: str | Path) -> str:
    """A path with the home folder for the ~ that it begins with; as it is where there is no home."""
    return os.path.expanduser(path)  # noqa: PTH111 # that of Path raises where there is none


def temporary_place() -> Path:
    """The folder for temporary files.

    Raises InputError where TMPDIR names none: Python would take another one, and photos must not land there unasked.
    """
    named = os.environ.get("TMPDIR", "")
    if named and not Path(named).is_dir():
        raise InputError(f"TMPDIR names {named}, which is no folder; make it, or take TMPDIR out of the environment.")
    return Path(tempfile.gettempdir())


def file_state(path: Path) -> tuple[int, ...]:
    """What changes wherever a file is written: which it is, its size and its times."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    A file that took long to read is not read again while its size and times are the same. None that is read in less
    than COARSEST is remembered, because a change so soon after another may leave the same time.
    """
    state = file_state(path)
    if state in _read:
        return _read[state]
    started = time.monotonic()
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if time.monotonic() - started > COARSEST:
        _read[state] = found
    return found


def sync(place: Path) -> None:
    """Flushes a file, or a folder and everything in it, to the disk."""
    for path in [*place.rglob("*"), place]:
        sync_one(path)


def sync_one(path: Path) -> None:
    """Flushes one file, or a folder's list of files; see `flush`."""
    handle = os.open(path, os.O_RDONLY)
    try:
        flush(handle)
    finally:
        os.close(handle)


def flush(handle: int) -> None:
    """Flushes what is open; does nothing where the disk cannot flush such a thing, as some cannot folders."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in LACKING:
            raise


def allow(path: Path, mode: int) -> None:
    """Sets who may read a file or enter a folder; does nothing where the disk knows no rights."""
    try:
        path.chmod(mode)
    except OSError as error:
        if error.errno not in (*LACKING, errno.EPERM):
            raise


def clone(source: Path, place: Path) -> None:
    """Copies a file; where the disk can, both share their blocks until one of them changes (FICLONE of Linux)."""
    try:
        with source.open("rb") as one, place.open("wb") as other:
            fcntl.ioctl(other, FICLONE, one.fileno())
    except OSError:  # most disks cannot
        shutil.copyfile(source, place)


def linked(source: Path, place: Path) -> bool:
    """Makes `place` the same file as `source`; False, and nothing, where the disk cannot or `source` is a link."""
    if source.is_symlink():  # as into the hub's cache, which is everybody's
        return False
    try:
        place.hardlink_to(source)
    except OSError:
        return False
    return True


def is_there(path: Path) -> bool:
    """Whether anything has this name, a link to nothing included."""
    return os.path.lexists(path)


def too_long(path: Path) -> bool:
    """Whether a name is too long for this disk, that of a `workspace` for it included."""
    try:
        os.lstat(path.absolute().parent / f".{path.name}.{'x' * 8}")
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def is_plain(path: Path) -> bool:
    """Whether the path is a regular file and no link."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


@contextmanager
def workspace(place: Path, name: str) -> Iterator[Path]:
    """Gives a new folder `.NAME.XXXXXXXX` in `place` that only this user can enter; it is removed at the end.

    Those of the same name that killed processes left are removed first; if one holds what had the name `name` (see
    REPLACED) and nothing has it now, that gets its name back.
    """
    for left in place.glob(f".{glob.escape(name)}.*"):
        if re.fullmatch(rf"\.{re.escape(name)}\.[a-z0-9_]{{8}}", left.name):
            with suppress(OSError):
                _sweep(left, place / name)
    with shielded():
        folder = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=place))
        handle = os.open(folder, os.O_RDONLY)
        try:
            _locked(handle)
            with exposed():
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(handle)


def umask() -> int:
    """The permissions that new files of this process do not get."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@contextmanager
def parents(place: Path) -> Iterator[None]:
    """Makes the missing folders above a place; those that are still empty at the end are removed again."""
    missing = [folder for folder in place.absolute().parents if not folder.exists()]
    place.absolute().parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):
            for folder in missing:
                folder.rmdir()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Makes a folder that only this user can enter, unless it is there, and keeps other processes from holding it.

    Raises BlockingIOError where one holds it now, OSError where it is a link or somebody else's.
    """
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(handle)
        if status.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to somebody else")
        allow(folder, 0o700)
        _take(handle)
        if not folder.is_dir() or not os.path.samestat(status, folder.lstat()):
            raise BlockingIOError(errno.EWOULDBLOCK, "another process has just removed it")
        yield
    finally:
        os.close(handle)


@contextmanager
def locked(file: Path) -> Iterator[bool]:
    """Makes an empty file that only this user can read, unless it is there, and keeps other processes from locking it.

    Gives False where the disk knows no locks. Raises BlockingIOError where another process has locked it, OSError
    where it is a link or cannot be made.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        yield _take(handle)
    finally:
        os.close(handle)


def _take(handle: int) -> bool:
    """Locks what is open; False where the disk knows no locks. Raises BlockingIOError where another has locked it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _locked(handle: int) -> bool:
    """Whether the folder is this process's now; never where another holds it or the disk knows no locks."""
    with suppress(BlockingIOError):
        return _take(handle)
    return False


def _sweep(left: Path, out: Path) -> None:
    """Removes a working folder whose process is gone."""
    handle = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(handle)
        young = not any(left.iterdir()) and time.time() - status.st_mtime < YOUNG
        if status.st_uid != os.geteuid() or young or not _locked(handle):
            return
        if is_there(left / REPLACED) and not is_there(out):
            (left / REPLACED).rename(out)
        shutil.rmtree(left)
    finally:
        os.close(handle)
