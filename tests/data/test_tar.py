"""Tar files of photos, as webdataset writes them."""

import errno
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unsee.data import load, open_image
from unsee.data.shards import expanded
from unsee.errors import InputError, OutputError


def png(shade: int) -> bytes:
    made = io.BytesIO()
    Image.new("RGB", (8, 6), (shade, 0, 0)).save(made, format="PNG")
    return made.getvalue()


def shard(file: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file


def test_photos_come_in_order_with_what_stands_beside_them(tmp_path: Path) -> None:
    said = json.dumps({"concept": "alice", "question": "Who is this?", "answer": "Alice", "url": "http://x"})
    members = {
        "0001.png": png(1),
        "0001.json": said.encode(),
        "0002.cls": b"bob\n",
        "0002.png": png(2),
        "0002.txt": b"a man by the sea",
        "carol/0003.png": png(3),
        "0004.png": png(4),
        "._0004.png": b"AppleDouble",
        "0005.npy": b"no photo",
    }
    samples = load(shard(tmp_path / "photos-007.tar", members))
    assert [sample.concept for sample in samples] == ["alice", "bob", "carol", "photos"]
    assert (samples[0].question, samples[0].answer) == ("Who is this?", "Alice")
    assert [open_image(sample).getpixel((0, 0)) for sample in samples] == [(shade, 0, 0) for shade in (1, 2, 3, 4)]
    files = [sample.image for sample in samples if isinstance(sample.image, Path)]
    assert len(files) == 4
    assert all(file.parents[1].stat().st_mode & 0o077 == 0 for file in files)  # nobody else may look at them


def test_two_shards_of_one_name_keep_their_own_photos(tmp_path: Path) -> None:
    for number, folder in enumerate(("one", "two")):
        (tmp_path / folder).mkdir()
        shard(tmp_path / folder / "photos.tar", {"a.png": png(number)})
    samples = [load(tmp_path / folder / "photos.tar")[0] for folder in ("one", "two")]
    assert [open_image(sample).getpixel((0, 0)) for sample in samples] == [(0, 0, 0), (1, 0, 0)]


def test_unpacked_photos_go_with_the_process(tmp_path: Path) -> None:
    file = shard(tmp_path / "one.tar", {"a.png": png(1)})
    code = "import sys; from pathlib import Path; from unsee.data import load\n"
    code += "image = load(Path(sys.argv[1]))[0].image; print(image.is_file(), image.is_relative_to(sys.argv[2]))"
    place = tmp_path / "temporary"
    place.mkdir()
    ran = subprocess.run(  # our own code
        [sys.executable, "-c", code, str(file), str(place)],
        env={**os.environ, "TMPDIR": str(place)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout == "True True\n"
    assert not list(place.iterdir())


def test_a_place_that_is_not_there_is_said_and_no_other_is_taken(tmp_path: Path) -> None:
    file = shard(tmp_path / "one.tar", {"a.png": png(1)})
    code = "import sys; from pathlib import Path; from unsee.data import load; load(Path(sys.argv[1]))"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(file)],
        env={**os.environ, "TMPDIR": str(tmp_path / "gone")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "InputError: TMPDIR names" in ran.stderr


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = shard(tmp_path / "one.tar", {"a.png": png(1)})

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"cannot take the photos of one\.tar \(No space left .*TMPDIR"):
        load(file)


def test_a_range_and_a_pattern_mean_shards_in_order(tmp_path: Path) -> None:
    for number in range(3):
        shard(tmp_path / f"photos-{number:03}.tar", {"a.png": png(number)})
    for name in ("photos-{000..002}.tar", "photos-*.tar"):
        samples = load(tmp_path / name)
        assert [open_image(sample).getpixel((0, 0)) for sample in samples] == [(n, 0, 0) for n in range(3)]
    with pytest.raises(InputError, match=r"photos-003\.tar cannot be read \(No such file"):
        load(tmp_path / "photos-{000..003}.tar")
    with pytest.raises(InputError, match="range of -2 shards"):
        load(tmp_path / "photos-{003..000}.tar")
    with pytest.raises(InputError, match=r"no file is called .*none-\*\.tar"):
        load(tmp_path / "none-*.tar")


def test_a_file_whose_name_is_a_pattern_is_that_file(tmp_path: Path) -> None:
    file = shard(tmp_path / "photos-{0..9}.tar", {"a.png": png(1)})
    assert expanded(file) == [file]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"a.png": b"no photo"}, "cannot be read as an image"),
        ({"a.heic": b"x"}, r"a\.heic is no photo that unsee reads; save it as JPEG"),
        ({"a.json": b"{", "a.png": png(1)}, r"a\.json is not JSON"),
        ({"a.json": b"[]", "a.png": png(1)}, r"a\.json is no object"),
        ({"a.json": b'{"concept": 3}', "a.png": png(1)}, "expected text"),
        ({"a.cls": b" ", "a.png": png(1)}, 'empty "concept"'),
        ({"a.txt": b"no image"}, "holds no image"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, members: dict[str, bytes], said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(shard(tmp_path / "one.tar", members))


def test_damage_in_the_middle_is_no_end(tmp_path: Path) -> None:
    file = shard(tmp_path / "one.tar", {"a.png": png(1), "b.png": png(2), "c.png": png(3)})
    content = bytearray(file.read_bytes())
    content[1024 + 148 : 1024 + 156] = b"\xff" * 8  # the checksum of the second file's header
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"one\.tar is damaged after sample 1"):
        load(file)


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 3000), change=st.binary(max_size=40), at=st.integers(0, 3000))
def test_any_truncation_ends_in_a_sentence_or_in_whole_photos(
    tmp_path_factory: pytest.TempPathFactory, cut: int, change: bytes, at: int
) -> None:
    file = shard(tmp_path_factory.mktemp("cut") / "one.tar", {"a.png": png(1), "b.png": png(2)})
    content = bytearray(file.read_bytes()[:cut])
    content[at : at + len(change)] = change
    file.write_bytes(content)
    try:
        samples = load(file)
    except InputError as error:
        assert "one.tar" in str(error)  # noqa: PT017 # either outcome is right
    else:
        assert samples


def test_a_photo_that_cannot_be_read_is_named_by_its_shard(tmp_path: Path) -> None:
    """Not by the folder where it lies meanwhile, which is gone when the user reads of it."""
    cut = Image.effect_noise((64, 64), 50)
    made = io.BytesIO()
    cut.save(made, format="PNG")
    one, two = load(shard(tmp_path / "photos-7.tar", {"a.png": png(1), "b.png": made.getvalue()[:-900]}))
    assert open_image(one).size == (8, 6)
    with pytest.raises(InputError, match=r"^photos-7\.tar/\d+-b\.png ") as error:
        open_image(two)
    assert "unsee-photos" not in str(error.value)


def test_files_of_one_name_need_not_stand_side_by_side(tmp_path: Path) -> None:
    """As `tar cf shard.tar *.json *.png` writes them."""
    names = ("alice", "bob", "carol")
    members = {f"{number}.json": json.dumps({"concept": name}).encode() for number, name in enumerate(names)}
    members |= {f"{number}{ending}": png(number) for number, ending in enumerate((".png", ".JFIF", ""))}
    samples = load(shard(tmp_path / "photos.tar", members))
    assert [sample.concept for sample in samples] == list(names)
    assert [open_image(sample).getpixel((0, 0)) for sample in samples] == [(shade, 0, 0) for shade in range(3)]


@pytest.mark.parametrize("text", ["lost.json", "lost.cls"])
def test_a_text_without_its_photo_is_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"photos.tar file {text} stands beside no photo of its name; add the photo"):
        load(shard(tmp_path / "photos.tar", {"0.png": png(0), text: b'{"concept": "alice"}'}))
