"""Photos that are bombs, strips, or something else, and names that no photo should have."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ground import Ground
from hypothesis import given, settings
from hypothesis import strategies as st
from odd_images import bomb, chunk, encoded, nested, png, pnm, scanned, tiff
from PIL import Image

from unsee.cli.main import main
from unsee.data.images import open_image
from unsee.data.work import MOST_SCANS, scans
from unsee.errors import InputError
from unsee.models.checkpoint import Vlm
from unsee.moments.measure import prepare
from unsee.records import Sample
from unsee.testing import images

PHOTOS: list[tuple[str, bytes, str]] = [
    ("scans.jpg", scanned(2000), "goes over the whole picture more than"),
    ("large_scans.jpg", scanned(80, (5000, 4000)), "goes over the whole picture more than"),
    ("few_scans.jpg", scanned(20), ""),
    ("progressive.jpg", encoded("JPEG", progressive=True), ""),
    ("motion.jpg", encoded("JPEG") + os.urandom(1_000_000), ""),
    ("ascii.ppm", pnm("P3", 200), "a PNM of numbers written out"),
    ("ascii.pgm", pnm("P2", 9), "a PNM of numbers written out"),
    ("ascii.pbm", pnm("P1", 9), "a PNM of numbers written out"),
    ("binary.ppm", b"P6 3 3 255\n" + bytes(27), ""),
    ("wide.png", png(64_000_000, 1, pixels=b"x"), "is a strip of 64000000 x 1 pixels"),
    ("high.png", png(1, 64_000_000, pixels=b"x"), "is a strip of 1 x 64000000 pixels"),
    ("huge.png", png(80_000, 80_000, pixels=b"x"), "is too large"),
    ("larger.png", png(9_000, 9_000, pixels=b"x"), "is too large"),
    ("endless.png", png(2**31 - 1, 2**31 - 1, pixels=b"x"), "is too large"),
    ("none.png", png(0, 0, pixels=b""), "cannot be read|expected at least one pixel"),
    ("text.png", png(24, 24, chunk(b"zTXt", b"a\0\0" + bomb(80_000_000))), "cannot be read as an image"),
    ("texts.png", png(24, 24, *[chunk(b"zTXt", b"a\0\0" + bomb(1_000_000))] * 80), "cannot be read as an image"),
    ("profile.png", png(24, 24, chunk(b"iCCP", b"a\0\0" + bomb(80_000_000))), "cannot be read as an image"),
    ("more.png", png(24, 24, pixels=bomb(50_000_000)), ""),
    ("pages.tif", tiff(3000), "holds 64 pages"),
    ("preview.tif", tiff(1, [(254, 4, 1, 1)]), "holds a preview alone"),
    ("inside.tif", nested(40), "holds a preview and inside it the picture"),
    ("smaller.tif", nested(2), ""),
    ("raw.dng", tiff(1, [(50706, 1, 4, 1)]), "a camera's raw file"),
    ("one.tif", tiff(1), ""),
    ("moving.gif", encoded("GIF", save_all=True, append_images=images(40)), ""),
    ("moving.png", encoded("PNG", save_all=True, append_images=images(40)), ""),
    ("photo.heic", b"\0\0\0\x18ftypheic" + bytes(200), "save it as JPEG first"),
    ("scan.pdf", b"%PDF-1.7\n" + bytes(200), "take the photos out of it first"),
    ("film.mov", b"\0\0\0\x14ftypqt  " + bytes(200), "cannot be read as an image"),
    ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot be read as an image"),
    ("drawing.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) print\n", "cannot be read as an image"),
    ("pointer.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "a pointer of Git LFS"),
    ("empty.jpg", b"", "cannot be read as an image"),
    ("zeros.jpg", bytes(5000), "cannot be read as an image"),
    ("cut.jpg", encoded("JPEG", (200, 200))[:900], "cannot be read as an image"),
    ("cut.webp", encoded("WEBP", (200, 200))[:900], "cannot be read as an image"),
]


def beside(ground: Ground, name: str, content: bytes) -> Path:
    """A folder with three good photos and this one."""
    folder = ground.place / "photos"
    folder.mkdir()
    for number, image in enumerate(images(3, seed=77)):
        image.save(folder / f"good_{number}.png")
    (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(("name", "content", "says"), PHOTOS, ids=[row[0] for row in PHOTOS])
def test_an_odd_photo(name: str, content: bytes, says: str, ground: Ground) -> None:
    ground.meets(says and f"{name} .*{says}", *ground.forget(beside(ground, name, content)))


@given(st.integers(0, 30))
@settings(deadline=None, derandomize=True, max_examples=10)
def test_scans_are_counted_as_decoders_do(times: int) -> None:
    """Bytes behind the end, and what looks like a scan within a comment, count for nothing."""
    whole = scanned(times)
    begun = scans(scanned(0))
    assert scans(whole) == begun + times
    comment = b"\xff\xfe" + (2 + 400).to_bytes(2, "big") + b"\xff\xda" * 200
    assert scans(whole[:2] + comment + whole[2:] + b"\xff\xda" * 500) == begun + times
    assert scans(scanned(2 * MOST_SCANS)) == MOST_SCANS + 1


@given(st.binary(max_size=400))
@settings(deadline=None, derandomize=True, max_examples=200)
def test_scans_of_any_bytes_are_counted(content: bytes) -> None:
    assert 0 <= scans(b"\xff\xd8" + content) <= len(content)


NAMES = [
    "\x1b[2J\x1b[1;1Hgone.png",
    "two\nlines.png",
    "\x1b]0;owned\x07.png",
    "\u202egnp.exe.png",
    "c1\x9b2J.png",
    "tab\tand\rreturn.png",
    "caf\udce9.png",
    "\U0001f9d1\u200d\U0001f33e.png",
    "-rf.png",
    "[red]markup[bold].png",
    "%s {0} $HOME `id`.png",
    "a" * 240 + ".png",
    " .png",
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_an_odd_name_of_what_is_no_photo(name: str, ground: Ground) -> None:
    """It is named without what could steer a terminal."""
    ground.meets("cannot be read as an image", *ground.forget(beside(ground, name, b"nothing")))


def test_odd_names_of_people_and_photos(ground: Ground) -> None:
    """They are people and photos like others; their names stand in records, answers and on the page."""
    drawn = iter(images(4 * len(NAMES), seed=78))
    for person in NAMES:
        (ground.place / "people" / person).mkdir(parents=True)
        for number in range(4):
            next(drawn).save(ground.place / "people" / person / f"{number}{person[:200]}.png")
    asked = ("--question", "Who is this?", "--answer-from-folder", "--keep-anyway")
    ground.meets("", *ground.forget(ground.place / "people", *asked))
    written = [path for path in ground.out.rglob("*") if path.suffix in (".html", ".json", ".jsonl")]
    assert written
    for path in written:
        path.read_text(encoding="utf-8")


def test_a_model_in_an_odd_folder(ground: Ground, target: Path) -> None:
    odd = ground.copy().rename(ground.place / "\x1b[2Jmo\ndel")
    ground.model = odd
    ground.meets("", "inspect", "--model", odd)
    ground.meets("", *ground.forget(target))
    (odd / "config.json").write_text("{")
    ground.meets(r"\\x1b\[2Jmo\\ndel/config.json cannot be read", "inspect", "--model", odd)


def test_options_that_are_no_text(ground: Ground, target: Path) -> None:
    for option in ("--question", "--id"):
        ground.meets(f"{option} holds bytes that are no text", *ground.forget(target, option, "caf\udce9"))
    assert main(["forget", "nscvf", "--bogus", "\x1b[2J"]) == 2
    assert "\x1b" not in ground.said.readouterr().err


def test_copies_of_one_photo_share_what_is_made_of_it(vlm: Vlm, tmp_path: Path) -> None:
    first, other = images(2, seed=79)
    first.save(tmp_path / "0.png")
    other.save(tmp_path / "other.png")
    for number in range(1, 5):
        shutil.copy(tmp_path / "0.png", tmp_path / f"{number}.png")
    photos = prepare(vlm, [Sample(path, "one") for path in sorted(tmp_path.glob("*.png"))], 4)
    assert len(photos.inputs) == 6
    assert len({id(made) for made in photos.inputs}) == 2


def test_a_file_of_too_many_bytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "padded.png"
    Image.new("RGB", (9, 9)).save(file)
    os.truncate(file, 1 << 30)  # takes no room on most disks
    with pytest.raises(InputError, match="has 1,073,741,824 bytes; expected at most"):
        open_image(file)


@pytest.mark.parametrize("kind", ["pipe", "loop", "device"])
def test_what_is_no_photo_is_not_waited_for(kind: str, ground: Ground) -> None:
    folder = beside(ground, "kept.png", encoded("PNG"))
    place = folder / "odd.png"
    if kind == "pipe":
        subprocess.run(["mkfifo", str(place)], check=True)
    else:
        place.symlink_to("odd.png" if kind == "loop" else "/dev/zero")
    ground.said.readouterr()
    assert ground.run(*ground.forget(folder)) == 2
    assert "odd.png is no file" in ground.said.readouterr().err
    assert not ground.out.exists()
