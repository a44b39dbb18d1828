"""Photos that lie inside other files, as files of their own, so that memory need not hold them.

The files are in a folder that only the user may enter, in the place for temporary files (TMPDIR), and go when the
process ends. What a killed process left goes when the next one unpacks photos.
"""

import atexit
import re
from contextlib import ExitStack
from functools import cache
from itertools import count
from pathlib import Path

from unsee.data.images import UNPACKED, check_header
from unsee.errors import OutputError
from unsee.system.disk import temporary_place, workspace

LONGEST = 80  # signs of a file's name
_numbers = count()


@cache
def _folder() -> Path:
    opened = ExitStack()
    atexit.register(opened.close)
    return opened.enter_context(workspace(temporary_place(), UNPACKED))


def unpacked(data: bytes, source: str, name: str) -> Path:
    """A new file that holds an encoded image, called after its `source` and the `name` that it has there.

    Only its header is read. Raises InputError where it is no image or too large, OutputError where the disk is full.
    """
    try:
        folder = _folder() / _plain(source)
        folder.mkdir(exist_ok=True)
        file = folder / f"{next(_numbers)}-{_plain(name)}"  # two sources may have one name, and so may two photos
        file.write_bytes(data)
    except OSError as error:
        raise OutputError(
            f"{temporary_place()} cannot take the photos of {source} ({error.strerror or error}); "
            "let TMPDIR name a folder with room for all of them."
        ) from error
    check_header(file)
    return file


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)[-LONGEST:].lstrip(".") or "photo"
