"""Photos that lie inside other files, as files of their own, so that memory need not hold them.

The files are in a folder that only the user may read, in the place for temporary files (TMPDIR), and go when the
process ends.
"""

import re
import tempfile
from functools import cache
from pathlib import Path

from unsee.data.images import check_header
from unsee.errors import OutputError

LONGEST = 80  # signs of a file's name


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="unsee-photos-")


def unpacked(data: bytes, source: str, name: str) -> Path:
    """A new file that holds an encoded image, called after its `source` and the `name` that it has there.

    Only its header is read. Raises InputError where it is no image or too large, OutputError where the disk is full.
    """
    folder = Path(_folder().name) / _plain(source)
    file = folder / _plain(name)
    try:
        folder.mkdir(exist_ok=True)
        file.write_bytes(data)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot take the photos of {source} ({error.strerror or error}); "
            "let TMPDIR name a folder with room for all of them."
        ) from error
    check_header(file)
    return file


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)[-LONGEST:].lstrip(".") or "photo"
