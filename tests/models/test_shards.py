"""Safetensors files by their headers: damage is named by its file, and a patch changes only the bytes it must."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from unsee.errors import InputError
from unsee.models import shards
from unsee.models.shards import INDEX, Stored, differences, header, headers, patch, places

ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
TENSORS = {
    ONE: {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4, dtype=torch.float16)},
    TWO: {"c": torch.arange(8.0).to(torch.bfloat16), "d": torch.arange(3)},
}
WHERE = {name: file for file, tensors in TENSORS.items() for name in tensors}
Damage = Callable[[bytes], bytes]


def framed(text: bytes, data: bytes = b"") -> bytes:
    """A file with this header."""
    return len(text).to_bytes(8, "little") + text + data


def write_index(folder: Path, where: dict[str, str]) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": where}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    place.mkdir()
    for file, tensors in TENSORS.items():
        save_file(tensors, place / file, metadata={"format": "pt"})
    write_index(place, WHERE)
    return place


def test_headers_say_where_every_tensor_lies(folder: Path) -> None:
    found = headers(folder)
    assert {name: place.file.name for name, place in found.items()} == WHERE
    assert places(folder) == {name: place.file for name, place in found.items()}
    for name, place in found.items():
        value = TENSORS[WHERE[name]][name]
        assert place.shape == tuple(value.shape)
        data = value.view(-1).view(torch.uint8).numpy().tobytes()
        assert place.file.read_bytes()[place.start : place.stop] == data


def test_places_of_an_indexed_checkpoint_open_no_shard(folder: Path) -> None:
    for file in TENSORS:
        (folder / file).write_bytes(b"")
    assert {name: file.name for name, file in places(folder).items()} == WHERE


@pytest.mark.parametrize(
    ("ranges", "words"),
    [
        ([(0, 4), (0, 4)], "lie over each other at byte"),
        ([(0, 8), (4, 8)], "lie over each other at byte"),
        ([(0, 4), (8, 12)], "leave bytes that belong to none at byte"),
        ([(4, 8), (8, 12)], "leave bytes that belong to none at byte"),
    ],
)
def test_tensors_fill_their_file(folder: Path, ranges: list[tuple[int, int]], words: str) -> None:
    """As the format wants it; else one tensor could be two, or bytes be carried along that nobody looks at."""
    entries = {
        f"t{place}": {"dtype": "F32", "shape": [(stop - start) // 4], "data_offsets": [start, stop]}
        for place, (start, stop) in enumerate(ranges)
    }
    content = framed(json.dumps(entries).encode()) + bytes(max(stop for _, stop in ranges))
    (folder / TWO).write_bytes(content)
    with pytest.raises(InputError, match=words):
        header(folder / TWO)


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / TWO).unlink()
    with pytest.raises(InputError, match=f"lacks {TWO}"):
        headers(folder)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-1], "is truncated"),
        (lambda data: data[: len(data) // 2], "no safetensors file that is whole|is truncated"),
        (lambda data: data[:5], "no safetensors file that is whole"),
        (lambda data: b"", "no safetensors file that is whole"),
        (lambda data: data + b"\0", "bytes long and its header speaks of"),
        (lambda data: b"garbage!" * 40, "no safetensors file that is whole"),
        (lambda data: (len(data) * 2).to_bytes(8, "little") + data[8:], "no safetensors file that is whole"),
        (lambda data: (2**63).to_bytes(8, "little") + data[8:], "no safetensors file that is whole"),
        (lambda data: framed(b"3"), "no safetensors file that is whole"),
        (lambda data: framed(b"[1, 2]"), "no safetensors file that is whole"),
        (lambda data: framed(b'{"c": {"dtype": "F32"}}'), "damaged header"),
        (lambda data: framed(b'{"c": 3}'), "damaged header"),
        (lambda data: framed(b'{"c": {"dtype": "F32", "shape": [1], "data_offsets": [4]}}'), "damaged header"),
        (lambda data: framed(b'{"c": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'), "is truncated"),
        (lambda data: framed(b'{"c": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}'), "damaged header"),
    ],
    ids=[
        "one byte less", "half", "five bytes", "empty", "one byte more", "garbage", "length beyond the end",
        "length beyond memory", "a number", "a list", "no offsets", "no entry", "one offset", "no data", "before",
    ],
)  # fmt: skip
def test_a_damaged_file_is_named(folder: Path, damage: Damage, words: str) -> None:
    file = folder / TWO
    file.write_bytes(damage(file.read_bytes()))
    for look in (lambda: header(file), lambda: headers(folder)):
        with pytest.raises(InputError, match=words) as refusal:
            look()
        assert str(file) in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        *(
            b'{"c": {"dtype": "F32", "shape": [%s], "data_offsets": [0, %s]}}' % pair
            for pair in [
                *((b"1", b"Infinity"), (b"1", b"4.0"), (b"true", b"4"), (b"-1", b"4"), (b"1.5", b"6"), (b'"1"', b"4")),
                *((b"1", b"8"), (b"9223372036854775808", b"4"), (b"2", b"4"), (b"null", b"4"), (b"[1]", b"4")),
            ]
        ),
        b'{"c": {"dtype": 3, "shape": [1], "data_offsets": [0, 4]}}',
    ],
)
def test_an_absurd_header_is_named(folder: Path, text: bytes) -> None:
    (folder / TWO).write_bytes(framed(text))
    with pytest.raises(InputError, match=TWO):
        header(folder / TWO)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ({**WHERE, "lost": TWO}, f"places lost in {TWO}, which does not hold it"),
        ({**WHERE, "a": TWO}, f"places a in {TWO}, which does not hold it"),
        ({**WHERE, "lost": "model-3.safetensors"}, "lacks model-3.safetensors"),
        ({**WHERE, "a": "../" + ONE}, "expected one in its own folder"),
        ({**WHERE, "a": 3}, "expected one in its own folder"),
    ],
    ids=["no shard holds it", "another shard holds it", "no such file", "outside", "no name"],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(folder: Path, where: dict[str, str], words: str) -> None:
    write_index(folder, where)
    with pytest.raises(InputError, match=words) as refusal:
        headers(folder)
    assert str(folder) in str(refusal.value)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a_patch_changes_the_bytes_of_its_tensor_and_no_other(folder: Path, name: str) -> None:
    before = {file: (folder / file).read_bytes() for file in TENSORS}
    stored = headers(folder)
    value = torch.full(stored[name].shape, 1 / 3)
    patch({name: value}, stored)
    place = stored[name]
    for file, data in before.items():
        now = (folder / file).read_bytes()
        if file != place.file.name:
            assert now == data
            continue
        assert now[: place.start] == data[: place.start]
        assert now[place.stop :] == data[place.stop :]
        assert now[place.start : place.stop] != data[place.start : place.stop]
    with safe_open(place.file, framework="pt") as opened:
        found = opened.get_tensor(name)
    assert found.dtype == TENSORS[place.file.name][name].dtype
    assert torch.equal(found, value.to(found.dtype))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("e", torch.zeros(1), "stores no tensor named e"),
        ("a", torch.zeros(3, 2), r"stores a as F32 \(2, 3\), expected floats \(3, 2\)"),
        ("a", torch.zeros(6), r"stores a as F32 \(2, 3\)"),
        ("d", torch.zeros(3), r"stores d as I64 \(3,\), expected floats"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(folder: Path, name: str, value: torch.Tensor, words: str) -> None:
    before = [(folder / file).read_bytes() for file in TENSORS]
    with pytest.raises(InputError, match=words):
        patch({name: value}, headers(folder))
    assert [(folder / file).read_bytes() for file in TENSORS] == before


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(folder, folder.with_name("copy"), dirs_exist_ok=True))


@pytest.mark.parametrize("chunk", [1, 3, 1 << 24])
@settings(deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_flipped_bit_anywhere_in_a_protected_tensor_is_found(chunk: int, folder: Path, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shards, "CHUNK", chunk)
        copy = copied(folder)
        stored = headers(copy)
        name = data.draw(st.sampled_from(sorted(stored)))
        place = stored[name]
        at, bit = data.draw(st.integers(place.start, place.stop - 1)), data.draw(st.integers(0, 7))
        content = bytearray(place.file.read_bytes())
        content[at] ^= 1 << bit
        place.file.write_bytes(content)
        assert differences(folder, copy, []) == (4, [name])
        assert differences(folder, copy, [name]) == (3, [])


def test_a_linked_file_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = copied(folder)
    (copy / TWO).unlink()
    (copy / TWO).hardlink_to(folder / TWO)

    def refuse(stored: Stored) -> None:
        raise AssertionError(f"{stored.file} was read")

    monkeypatch.setattr(shards, "_chunks", refuse)
    assert differences(folder, copy, TENSORS[ONE]) == (2, [])
    with pytest.raises(AssertionError, match=ONE):
        differences(folder, copy, [])


def test_a_tensor_in_another_place_is_compared_by_its_bytes(folder: Path) -> None:
    copy = folder.with_name("copy")
    copy.mkdir()
    save_file(TENSORS[ONE] | TENSORS[TWO], copy / "model.safetensors")
    assert differences(folder, copy, []) == (4, [])


@pytest.mark.parametrize(
    "changed",
    [{"a": TENSORS[ONE]["a"].view(3, 2)}, {"d": TENSORS[TWO]["d"].int()}, {"d": TENSORS[TWO]["d"].double()}],
    ids=["shape", "fewer bytes", "as many bytes"],
)
def test_another_shape_or_dtype_is_a_difference(folder: Path, changed: dict[str, torch.Tensor]) -> None:
    copy = folder.with_name("copy")
    copy.mkdir()
    save_file(TENSORS[ONE] | TENSORS[TWO] | changed, copy / "model.safetensors")
    assert differences(folder, copy, []) == (4, list(changed))


def test_a_missing_and_an_added_tensor_differ(folder: Path) -> None:
    copy = folder.with_name("copy")
    copy.mkdir()
    other = TENSORS[ONE] | TENSORS[TWO]
    other["added"] = other.pop("a")
    save_file(other, copy / "model.safetensors")
    assert differences(folder, copy, []) == (4, ["a", "added"])
    assert differences(folder, copy, ["a", "added"]) == (3, [])


def test_a_pointer_of_git_lfs_is_called_that(folder: Path) -> None:
    (folder / TWO).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    with pytest.raises(InputError, match=f"{TWO} is a pointer of Git LFS"):
        header(folder / TWO)
