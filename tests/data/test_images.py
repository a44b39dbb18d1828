"""Decoding: every colour mode becomes upright RGB, and every bad image one clear sentence."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from unsee.data import MAX_PIXELS, open_image
from unsee.data.images import check_header, decode
from unsee.errors import InputError
from unsee.records import Sample


def png_header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds next to no pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 100, (100, 100, 100)),
        ("LA", (100, 0), (255, 255, 255)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
        ("RGBA", (1, 2, 3, 255), (1, 2, 3)),
        ("RGBA", (1, 2, 3, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 257 * 100, (100, 100, 100)),
        ("I", 257 * 100, (100, 100, 100)),
    ],
)
def test_every_mode_becomes_rgb(mode: str, colour: object, expected: tuple[int, int, int]) -> None:
    opened = open_image(Image.new(mode, (2, 2), colour))  # type: ignore[arg-type]
    assert opened.mode == "RGB"
    assert opened.getpixel((1, 1)) == expected


def test_palette_with_transparency_is_put_on_white(tmp_path: Path) -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    picture.save(tmp_path / "a.png", transparency=1)
    opened = open_image(tmp_path / "a.png")
    assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(255, 0, 0), (255, 255, 255)]


@pytest.mark.parametrize("name", ["a.png", "a.pgm", "a.tif"])
def test_sixteen_bit_files_keep_their_range(tmp_path: Path, name: str) -> None:
    Image.new("I;16", (2, 2), 257 * 100).save(tmp_path / name)
    assert open_image(tmp_path / name).getpixel((0, 0)) == (100, 100, 100)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_unknown_range_are_refused(mode: str) -> None:
    with pytest.raises(InputError, match=r"convert it"):
        open_image(Image.new(mode, (2, 2), 70000))


def test_orientation_is_applied_once(tmp_path: Path) -> None:
    picture = Image.new("RGB", (3, 2), "white")
    picture.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    picture.save(tmp_path / "a.png", exif=exif)
    opened = open_image(tmp_path / "a.png")
    assert opened.size == (2, 3)
    assert opened.getpixel((1, 0)) == (255, 0, 0)
    assert open_image(opened).size == (2, 3)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert open_image(tmp_path / "a.gif").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "tif", "ppm"])
def test_formats_and_sources_agree(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (4, 3), "white").save(path)
    from_file = open_image(path)
    assert from_file.size == (4, 3)
    assert from_file.tobytes() == open_image(Sample(image=path, concept="a")).tobytes()
    assert from_file.tobytes() == open_image(from_file).tobytes() == decode(path.read_bytes(), "row").tobytes()


def test_the_original_in_memory_is_left_alone() -> None:
    picture = Image.new("RGB", (1, 1), "red")
    open_image(picture).putpixel((0, 0), (0, 0, 0))
    assert picture.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(30_000, 30_000), (10_000, 10_000), (MAX_PIXELS // 8000, 8001)])
def test_too_many_pixels_are_refused_by_the_header(tmp_path: Path, size: tuple[int, int]) -> None:
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_header(*size))
    for read in (open_image, check_header):
        with pytest.raises(InputError, match=r"bomb\.png is too large \(.*64,000,000 pixels, so scale it down"):
            read(bomb)


def test_a_header_at_the_limit_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_header(MAX_PIXELS // 8000, 8000))
    check_header(path)


def test_text_named_png(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(InputError, match=r"a\.png cannot be read as an image \(its content is no known image\)"):
        open_image(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "tif"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7])
def test_truncated_file(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.effect_noise((64, 64), 80).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(InputError, match=rf"a\.{suffix} cannot be read as an image .* expected a complete"):
        open_image(path)


@pytest.mark.parametrize("size", [(0, 0), (0, 5)])
def test_zero_size(tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=rf"memory is {size[0]} x {size[1]} pixels; expected at least one"):
        open_image(Image.new("RGB", size))
    (tmp_path / "zero.png").write_bytes(png_header(*size))
    with pytest.raises(InputError, match=r"zero\.png"):
        open_image(tmp_path / "zero.png")


def test_missing_file_folder_and_no_image_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png cannot be read as an image \(No such file"):
        open_image(tmp_path / "gone.png")
    with pytest.raises(InputError, match="directory"):
        open_image(tmp_path)
    with pytest.raises(InputError, match="concept 'alice' in memory has no image"):
        open_image(Sample(image=None, concept="alice"))


def test_postscript_is_never_interpreted(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n")
    with pytest.raises(InputError, match="no known image"):
        open_image(tmp_path / "a.png")


def with_exif(path: Path, body: bytes) -> Path:
    """A JPEG of 40 x 24 pixels whose EXIF segment holds these bytes."""
    buffer = BytesIO()
    Image.linear_gradient("L").resize((40, 24)).convert("RGB").save(buffer, "JPEG")
    plain, segment = buffer.getvalue(), b"Exif\0\0" + body
    path.write_bytes(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:])
    return path


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_no_metadata_keeps_a_whole_photo_from_being_read(body: bytes) -> None:
    """Nor does any value of EXIF that is well-formed but odd: see below."""
    with TemporaryDirectory() as folder:
        assert sorted(open_image(with_exif(Path(folder) / "a.jpg", body)).size) == [24, 40]


ENTRY = st.tuples(
    st.sampled_from([0x0112, 0x0131, 0x0213, 0x8769, 0x8825, 0xA005, 0x9204, 0x011A, 0x0128]),
    st.integers(0, 14),
    st.integers(0, 6),
    st.binary(min_size=4, max_size=4),
)


@given(st.lists(ENTRY, max_size=6), st.sampled_from(["<", ">"]), st.binary(max_size=60))
@example([(282, 1, 1, bytes(4)), (296, 1, 1, bytes(4))], "<", b"")  # a resolution of one byte
@settings(max_examples=150, deadline=None)
def test_odd_values_of_known_tags_neither(entries, order: str, rest: bytes) -> None:
    body = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack(f"{order}HHI", tag, kind, count) + value
    with TemporaryDirectory() as folder:
        assert sorted(open_image(with_exif(Path(folder) / "a.jpg", body + b"\0\0\0\0" + rest)).size) == [24, 40]


def tiff(path: Path, *pages: tuple[int, int]) -> Path:
    """A TIFF with a page for each (width, kind of the page)."""
    made = []
    for width, kind in pages:
        page = Image.new("RGB", (width, 8), (width, 0, 0))
        page.encoderinfo = {"tiffinfo": {254: kind}}
        made.append(page)
    made[0].save(path, save_all=True, append_images=made[1:], tiffinfo={254: pages[0][1]})
    return path


def test_a_preview_is_never_taken_for_the_picture(tmp_path: Path) -> None:
    assert open_image(tiff(tmp_path / "a.tif", (16, 1), (60, 0))).size == (60, 8)
    assert open_image(tiff(tmp_path / "b.tif", (60, 0), (16, 1))).size == (60, 8)
    for name, pages, said in (
        ("c.tif", [(60, 0), (50, 0)], r"c\.tif holds 2 pages; expected one picture"),
        ("d.tif", [(16, 1)], r"d\.tif holds a preview alone"),
    ):
        with pytest.raises(InputError, match=said):
            open_image(tiff(tmp_path / name, *pages))
        with pytest.raises(InputError, match=said):
            check_header(tmp_path / name)
    Image.new("RGB", (16, 12)).save(tmp_path / "e.dng", "TIFF", tiffinfo={50706: b"\1\4\0\0"})
    with pytest.raises(InputError, match=r"e\.dng is a camera's raw file"):
        open_image(tmp_path / "e.dng")


def test_a_strip_is_named_before_it_is_decoded(tmp_path: Path) -> None:
    Image.new("RGB", (2050, 9)).save(tmp_path / "long.png")
    (tmp_path / "longer.png").write_bytes(png_header(64_000_000, 1))
    for name in ("long.png", "longer.png"):
        for read in (open_image, check_header):
            with pytest.raises(InputError, match=rf"{name} is a strip of"):
                read(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("clip.MOV", "take a picture out of the film first"),
        ("IMG_1.AAE", "it goes with a photo and shows nothing"),
        ("x.cr2", "save it as JPEG or PNG first"),
        ("x.heic", "save it as JPEG first"),
    ],
)
def test_what_is_no_photo_is_named_as_what_it_is(name: str, advice: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\0\1\2 no photo")
    with pytest.raises(InputError, match=advice):
        open_image(tmp_path / name)
