"""Pointers that Git LFS leaves in the place of large files."""

from pathlib import Path

from unsee.errors import InputError

BEGIN = b"version https://git-lfs"


def refuse_pointer(file: Path) -> None:
    """Raises InputError where the file is such a pointer; one that cannot be read is left to whoever reads it."""
    try:
        with file.open("rb") as opened:
            pointer = opened.read(len(BEGIN)) == BEGIN
    except OSError:
        return
    if pointer:
        raise InputError(f"{file} is a pointer of Git LFS and not the file itself; run git lfs pull where it is.")
