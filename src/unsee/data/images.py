"""From a file, encoded bytes or an image in memory to upright RGB pixels, with limits on what is decoded."""

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, cast

from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from unsee.data.work import MOST_BYTES, MOST_SCANNED, MOST_SCANS, scans, size_of
from unsee.errors import InputError
from unsee.records import Sample
from unsee.system.disk import is_there
from unsee.system.lfs import refuse_pointer
from unsee.system.signals import within

MAX_PIXELS = 64_000_000
DECODING = 30.0  # seconds that one image may take: the largest takes a few, and some decoders go pixel by pixel
MAX_RATIO = 200  # of the sides; processors that keep the shape of an image refuse more, or make of it gigabytes
# A closed list: Pillow would also hand EPS to Ghostscript and try decoders that no photo needs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # Pillow reads 16-bit PGM as "I"
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # by EXIF orientation; 1 is upright
ORIENTATION = 0x0112  # a tag of EXIF
SUBFILE, INSIDE, RAW, SIDES = 254, 330, 50706, (256, 257)  # of TIFF: kind of a page, those inside it, DNG, its size
UNPACKED = "unsee-photos"  # what the folder is called for photos that lie in other files; nobody knows it
BIG = 43  # of a TIFF whose places have 8 bytes
PAGES = 64  # of a TIFF, that are looked at; as many inside of one
PHONE = "save it as JPEG first, as phones do on request and heif-convert does"
FILM = "take a picture out of the film first, as ffmpeg does"
BESIDE = "remove it: it goes with a photo and shows nothing"
ROWS = "give the rows themselves, as a JSONL file with the keys image and concept, or take it out of the folder"
OTHER = "save it as JPEG or PNG first"
ADVICE = {
    **dict.fromkeys((".heic", ".heif"), PHONE),
    ".pdf": "take the photos out of it first, as pdfimages does",
    **dict.fromkeys((".mov", ".mp4", ".m4v", ".avi", ".webm"), FILM),
    **dict.fromkeys((".xmp", ".aae", ".thm"), BESIDE),
    **dict.fromkeys(("metadata.jsonl", "metadata.csv", "metadata.parquet"), ROWS),
    **dict.fromkeys((".jxl", ".jp2", ".psd", ".ico", ".cr2", ".cr3", ".arw", ".raf", ".svg"), OTHER),
}  # by how a file's name ends
# What Pillow's readers raise on damaged files.
DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, RuntimeError, AssertionError,
    struct.error, zlib.error,
)  # fmt: skip


def open_image(source: Sample | Path | Image.Image, name: str = "") -> Image.Image:
    """The image as a new RGB image: fully decoded, upright by its EXIF orientation, transparency on white.

    Of a moving picture the first frame counts. A TIFF must hold one picture, previews beside it left out. Of metadata
    nothing but the orientation is read.

    `name` stands for an image in memory in error sentences. Raises InputError, naming the image, where it cannot be
    read, is truncated, empty or a strip, or has more than MAX_PIXELS pixels; sizes are checked before decoding.
    """
    picture = source.image if isinstance(source, Sample) else source
    name = name or describe(source)
    if picture is None:
        raise InputError(f"{name} has no image; expected a sample with one, so leave text-only questions out.")
    with _reading(name):
        if isinstance(picture, Image.Image):
            return _to_rgb(picture, name)
        with _opened(picture) as opened:
            return _to_rgb(_bounded(_whole(opened, name), name), name)


def decode(data: bytes, name: str) -> Image.Image:
    """`open_image` for an encoded image file held in memory; `name` says where it came from, and is kept."""
    with _reading(name), _opened(BytesIO(data)) as opened:
        made = _to_rgb(_bounded(_whole(opened, name), name), name)
    vars(made)["filename"] = name  # as Pillow calls it where there is a file
    return made


def pixels(source: Path | Image.Image) -> int:
    """How many pixels an image has, by its header. Raises InputError where the file is no image."""
    if isinstance(source, Image.Image):
        return source.width * source.height
    name = str(source)
    with _reading(name), _opened(source) as opened:
        whole = _whole(opened, name)
        return whole.width * whole.height


def check_header(path: Path) -> None:
    """Raises InputError where the file is no image or too large; reads the header only, so damage may go unseen."""
    name = describe(path)
    with _reading(name), _opened(path) as opened:
        _check_size(_whole(opened, name), name)


def describe(source: Sample | Path | Image.Image) -> str:
    """The words for this image in an error sentence: its file, or row, where there is one."""
    picture = source.image if isinstance(source, Sample) else source
    if isinstance(picture, Path):
        inside = next((place for place, part in enumerate(picture.parts) if part.startswith(f".{UNPACKED}.")), None)
        return str(picture) if inside is None else "/".join(picture.parts[inside + 1 :])
    if known := getattr(picture, "filename", ""):
        return str(known)
    return f"a sample of concept {source.concept!r} in memory" if isinstance(source, Sample) else "an image in memory"


class _Jpeg(JpegImageFile):
    """A JPEG of which nobody asks the resolution: Pillow takes a JPEG for none where EXIF says an odd one."""

    def _read_dpi_from_exif(self) -> None:
        pass


def _opened(source: Path | BytesIO) -> Image.Image:
    if isinstance(source, Path) and is_there(source) and not (source.is_file() or source.is_dir()):
        raise OSError("it is a pipe or a device")  # which would be waited for
    try:
        return Image.open(source, formats=FORMATS)
    except UnidentifiedImageError as error:
        if isinstance(source, BytesIO):
            source.seek(0)
        try:
            return _Jpeg(source)
        except SyntaxError:  # what it is no JPEG by
            raise error from None


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turns whatever Pillow raises about a bad image into one InputError, and silences its warnings."""
    try:
        with warnings.catch_warnings(), within(DECODING):
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name, str(error).partition(" exceeds")[0]) from error
    except DAMAGE as error:
        refuse_pointer(Path(name))
        known = next((advice for ending, advice in ADVICE.items() if name.lower().endswith(ending)), "")
        raise InputError(
            f"{name} cannot be read as an image ({_reason(error)}); expected a complete {', '.join(FORMATS)} file, "
            f"so {known or 'convert, replace or remove it'}."
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its content is no known image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _too_large(name: str, found: str) -> InputError:
    return InputError(f"{name} is too large ({found}); expected at most {MAX_PIXELS:,} pixels, so scale it down.")


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height == 0:
        raise InputError(f"{name} is {width} x {height} pixels; expected at least one pixel, so replace or remove it.")
    if width * height > MAX_PIXELS:
        raise _too_large(name, f"{width} x {height} pixels")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise InputError(
            f"{name} is a strip of {width} x {height} pixels; expected sides of at most {MAX_RATIO} to 1, so crop or "
            "remove it."
        )


def _bounded(image: Image.Image, name: str) -> Image.Image:
    """The same image, unless to decode it is more work than its pixels say."""
    file: IO[bytes] = vars(image)["fp"]
    if size_of(file) > MOST_BYTES:
        raise InputError(f"{name} has {size_of(file):,} bytes; expected at most {MOST_BYTES:,}, so save it as JPEG.")
    if isinstance(image, JpegImageFile):
        at = file.tell()
        file.seek(0)
        found = scans(file.read())
        file.seek(at)
        if found > MOST_SCANS or found * image.width * image.height > MOST_SCANNED:
            raise InputError(
                f"{name} is a JPEG that goes over the whole picture more than {found - 1} times; expected a photo, so "
                "save it as a plain JPEG, or remove it."
            )
    return image


def _whole(image: Image.Image, name: str) -> Image.Image:
    """The same image, of a TIFF at the page that is the picture itself and no preview of it."""
    if isinstance(image, PpmImageFile) and image.tile and image.tile[0].codec_name == "ppm_plain":
        raise InputError(f"{name} is a PNM of numbers written out, which takes minutes to read; save it as PNG.")
    if not isinstance(image, TiffImageFile):
        return image
    if RAW in image.tag_v2:
        raise InputError(f"{name} is a camera's raw file (DNG), and what can be read is its preview; save it as JPEG.")
    whole = []
    for page in range(PAGES):  # to count them first would read as many as somebody put there
        try:
            image.seek(page)
        except EOFError:
            break
        if not int(image.tag_v2.get(SUBFILE, 0)) & 1:  # the bit of a picture in a lower resolution
            whole.append(page)
    if not whole:
        raise InputError(f"{name} holds a preview alone that can be read; save the picture itself as JPEG or PNG.")
    if len(whole) > 1:
        raise InputError(f"{name} holds {len(whole)} pages; expected one picture, so save each page as an image.")
    image.seek(whole[0])
    if any(size > image.width * image.height for size in _sizes_inside(image)):
        raise InputError(f"{name} holds a preview and inside it the picture; save that one as JPEG or PNG.")
    return image


def _sizes_inside(image: TiffImageFile) -> Iterator[int]:
    """Pixels of each picture that a TIFF holds inside its page, as far as that can be read."""
    places, file = image.tag_v2.get(INSIDE, ()), image.fp
    if not places or file is None:
        return
    file.seek(0)
    header = file.read(8)
    header += file.read(8) if BIG in header[2:4] else b""
    for place in (places if isinstance(places, tuple) else (places,))[:PAGES]:
        try:
            inside = ImageFileDirectory_v2(header)
            file.seek(place)
            inside.load(file)
            yield int(inside[SIDES[0]]) * int(inside[SIDES[1]])
        except (*DAMAGE, KeyError):
            continue


def _upright(image: Image.Image) -> Image.Image:
    """The image, turned as its orientation says; one that says nothing that can be read is upright."""
    try:
        turn = image.getexif().get(ORIENTATION)
    except DAMAGE:  # of the metadata, which the pixels do not need
        turn = None
    kind = TURNS.get(turn) if isinstance(turn, int) else None
    if kind is None:
        return image
    turned = image.transpose(kind)
    turned.info = {name: value for name, value in image.info.items() if name == "transparency"}  # or it turns again
    return turned


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    _check_size(image, name)
    upright = _upright(image)
    if upright.mode == "F":
        raise InputError(f"{name} holds floating-point pixels of unknown range; expected 8 or 16 bits, so convert it.")
    if upright.mode in SIXTEEN_BIT:
        upright = _to_eight_bit(upright, name)
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    rgba = upright.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _to_eight_bit(image: Image.Image, name: str) -> Image.Image:
    """Grey values 0..65535 to 0..255, rounded."""
    wide = image.convert("I")
    wide.info.pop("transparency", None)  # a 16-bit value, which no longer names a grey of the result
    low, high = cast("tuple[int, int]", wide.getextrema())  # a pair because there is one band
    if low < 0 or high > 65535:
        raise InputError(f"{name} holds values from {low} to {high}; expected 0 to 65535, so convert it to 8 bits.")
    return wide.point(lambda value: value * (1 / 257) + 0.5).convert("L")
