"""Image files that are more work than they look, or other than they say."""

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any

from PIL import Image


def encoded(kind: str, size: tuple[int, int] = (24, 24), **options: Any) -> bytes:
    """Noise as an image file."""
    file = BytesIO()
    Image.effect_noise(size, 50).convert("RGB").save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *more: bytes, pixels: bytes | None = None) -> bytes:
    """A black PNG of any size, with chunks before its pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    black = zlib.compress(bytes((width * 3 + 1) * height)) if pixels is None else pixels
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", black) + chunk(b"IEND", b"")


def bomb(count: int) -> bytes:
    """So many zeros, compressed."""
    return zlib.compress(bytes(count), 9)


def scanned(times: int, size: tuple[int, int] = (24, 24)) -> bytes:
    """A progressive JPEG whose last scan comes so often again."""
    whole = encoded("JPEG", size, progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * times + b"\xff\xd9"


def tiff(pages: int, entries: Sequence[tuple[int, int, int, int]] = ()) -> bytes:
    """A TIFF of so many pages of 4 x 4 pixels."""
    fields = [(256, 4, 1, 4), (257, 4, 1, 4), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    fields = sorted([*fields, (278, 4, 1, 4), (279, 4, 1, 16), *entries])
    size, made = 2 + 12 * len(fields) + 4, b"II*\0" + struct.pack("<I", 8)
    for page in range(pages):
        made += struct.pack("<H", len(fields)) + b"".join(struct.pack("<HHII", *field) for field in fields)
        made += struct.pack("<I", 8 + (page + 1) * size if page + 1 < pages else 0)
    return made + bytes(16)


def nested(side: int) -> bytes:
    """A TIFF of 4 x 4 pixels, which says that a square picture of that side is inside of its page."""
    whole = tiff(1, [(330, 4, 1, 300)])
    fields = [(256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 8), (262, 3, 1, 1)]
    inside = struct.pack("<H", len(fields)) + b"".join(struct.pack("<HHII", *field) for field in fields) + bytes(4)
    return whole.ljust(300, b"\0") + inside


def pnm(kind: str, numbers: int) -> bytes:
    """A PNM of numbers written out."""
    return f"{kind} {numbers} {numbers} 255\n".encode() + b"1 " * (3 * numbers * numbers)
