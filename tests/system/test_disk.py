"""Files as wholes."""

from pathlib import Path

import pytest

from unsee.system import disk
from unsee.system.disk import file_hash


def test_the_hash_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_hash(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(("coarsest", "times"), [(-1.0, 2), (60.0, 4)])  # any file takes long, or none
def test_a_file_that_takes_long_is_read_again_only_once_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coarsest: float, times: int
) -> None:
    read = []
    digest = disk.hashlib.file_digest
    monkeypatch.setattr(disk.hashlib, "file_digest", lambda file, name: (read.append(file), digest(file, name))[1])
    monkeypatch.setattr(disk, "COARSEST", coarsest)
    monkeypatch.setattr(disk, "_read", {})
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    before = [file_hash(file), file_hash(file)]
    file.write_bytes(b"abcd")
    after = [file_hash(file), file_hash(file)]
    assert len(set(before)) == len(set(after)) == 1
    assert before != after
    assert len(read) == times
