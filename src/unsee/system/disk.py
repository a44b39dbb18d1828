"""Files as wholes: their hash, and making sure that they are on the disk."""

import hashlib
import os
from pathlib import Path


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(place: Path) -> None:
    """Flushes a file, or a folder and everything in it, to the disk."""
    for path in [*place.rglob("*"), place]:
        sync_one(path)


def sync_one(path: Path) -> None:
    """Flushes one file, or a folder's list of files."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
