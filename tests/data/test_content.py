"""The same picture is found under another name or container; a changed pixel is another picture."""

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unsee.data import check_disjoint, content_hash, load, validate, without_copies
from unsee.data.images import decode
from unsee.errors import InputError
from unsee.records import Sample
from unsee.testing import images


def draw(path: Path, colour: str = "red") -> Path:
    """Writes a 3 x 2 image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (3, 2), colour).save(path)
    return path


@st.composite
def pictures(pick: st.DrawFn) -> Image.Image:
    mode = pick(st.sampled_from(["RGB", "L"]))
    size = pick(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    count = size[0] * size[1] * len(mode)
    return Image.frombytes(mode, size, pick(st.binary(min_size=count, max_size=count)))


@given(pictures(), st.sampled_from(["PNG", "BMP", "TIFF"]))
def test_hash_survives_lossless_encoding(picture: Image.Image, container: str) -> None:
    encoded = BytesIO()
    picture.save(encoded, container)
    assert content_hash(decode(encoded.getvalue(), "row")) == content_hash(picture)


@given(pictures(), st.data())
def test_hash_changes_with_one_pixel(picture: Image.Image, data: st.DataObject) -> None:
    changed = picture.convert("RGB")
    place = (data.draw(st.integers(0, picture.width - 1)), data.draw(st.integers(0, picture.height - 1)))
    red, green, blue = changed.getpixel(place)
    changed.putpixel(place, (red ^ 1, green, blue))
    assert content_hash(changed) != content_hash(picture)


def test_hash_depends_on_the_shape() -> None:
    assert content_hash(Image.new("RGB", (2, 3))) != content_hash(Image.new("RGB", (3, 2)))


def test_validate_returns_one_hash_per_image(tmp_path: Path) -> None:
    red, again, blue = draw(tmp_path / "red.png"), draw(tmp_path / "again.bmp"), draw(tmp_path / "blue.png", "blue")
    samples = [Sample(path, "a") for path in (red, again, blue, red)] + [Sample(None, "a")]
    hashes = validate(samples, "target")
    assert [hashes.index(digest) for digest in hashes] == [0, 0, 2, 0]
    assert hashes[2] == content_hash(Image.new("RGB", (3, 2), "blue"))


@pytest.mark.parametrize("samples", [[], [Sample(None, "a", "who?")]])
def test_validate_refuses_an_empty_set(samples: list[Sample]) -> None:
    with pytest.raises(InputError, match="the retained set holds no image"):
        validate(samples, "retained")


def test_validate_names_a_damaged_file(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"a\.png cannot be read"):
        validate([Sample(path, "a")], "target")


def test_disjoint_sets_pass(tmp_path: Path) -> None:
    draw(tmp_path / "target/a.png"), draw(tmp_path / "others/b.png", "blue")
    kept = check_disjoint(load(tmp_path / "target"), load(tmp_path / "others"))
    assert [sample.image for sample in kept] == [tmp_path / "others/b.png"]


def test_shared_content_under_another_name(tmp_path: Path) -> None:
    draw(tmp_path / "target/a.png"), draw(tmp_path / "others/b.png", "blue"), draw(tmp_path / "others/c.bmp")
    with pytest.raises(InputError, match=r"target image .*a\.png and retained image .*c\.bmp show the same picture"):
        check_disjoint(load(tmp_path / "target"), load(tmp_path / "others"))


def test_disjoint_refuses_an_empty_side(tmp_path: Path) -> None:
    sample = Sample(draw(tmp_path / "a.png"), "a")
    with pytest.raises(InputError, match="the target set holds no image"):
        check_disjoint([], [sample])
    with pytest.raises(InputError, match="the retained set holds no image"):
        check_disjoint([sample], [])


def test_copies_among_the_targets_are_left_out_with_all_their_questions(tmp_path):
    one, two = images(2, seed=3)
    for name, image in (("a.png", one), ("b.png", two), ("c.bmp", one)):
        image.save(tmp_path / name)
    asked = [
        Sample(tmp_path / name, "x", question=q) for name in ("a.png", "b.png", "c.bmp") for q in ("Who?", "Where?")
    ]
    kept, copies = without_copies(asked)
    assert copies == 1
    assert [sample.image.name for sample in kept] == ["a.png", "a.png", "b.png", "b.png"]
