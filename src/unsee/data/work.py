"""How much work an encoded image is, beside its pixels: known before anything is decoded."""

from typing import IO

MOST_BYTES = 1 << 29  # of a file: 64 million pixels of 16 bits and three colours take 384 MB
MOST_SCANS = 100  # of a JPEG: a progressive one has ten, and encoders that try everything use a few dozen
MOST_SCANNED = 20 * 64_000_000  # pixels in all scans together, about five seconds
SCAN, END, FILLING = 0xDA, 0xD9, 0xFF  # what stands behind the byte FF
ALONE = {0x00, 0x01, *range(0xD0, 0xD9)}  # these have no length behind them: data, and marks within it


def scans(content: bytes, most: int = MOST_SCANS) -> int:
    """How many scans a JPEG has up to its end, counted no further than one more than `most`.

    Source: ITU T.81, annex B. Whatever is broken ends the count; decoders stop there too.
    """
    place, found = 2, 0
    while found <= most:
        place = content.find(b"\xff", place)
        if place < 0 or place + 1 >= len(content):
            break
        marker = content[place + 1]
        if marker == END:
            break
        if marker == FILLING:
            place += 1
        elif marker in ALONE:
            place += 2
        else:
            found += marker == SCAN
            place += 2 + max(2, int.from_bytes(content[place + 2 : place + 4], "big"))
    return found


def size_of(file: IO[bytes]) -> int:
    """The bytes of an open file, which is left where it was."""
    at = file.tell()
    size = file.seek(0, 2)
    file.seek(at)
    return size
