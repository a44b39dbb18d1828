"""Other processes make of photos what this one would, in the same order, and fail as it would."""

import os
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unsee.data import check_disjoint, content_hash, open_image, workers
from unsee.data.content import validate
from unsee.data.similar import Look
from unsee.data.workers import each_made
from unsee.errors import InputError
from unsee.records import Sample

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    places = [tmp_path / f"{number}.png" for number in range(11)]
    for place in places:
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).resize((96, 96)).save(place)
    return places


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with cores to spare, where the least work is worth it."""
    monkeypatch.setattr(workers, "WORTH", 0.0)
    monkeypatch.setattr(workers.os, "sched_getaffinity", lambda _: range(3), raising=False)


def process_and_hash(photo: Path) -> tuple[int, str]:
    return os.getpid(), content_hash(open_image(photo))


@pytest.mark.usefixtures("shared")
@pytest.mark.parametrize("busy", [False, True])
def test_the_same_in_the_same_order_by_other_processes(photos: list[Path], *, busy: bool) -> None:
    made = list(each_made(photos, process_and_hash, busy=busy))
    assert [digest for _, digest in made] == [content_hash(open_image(photo)) for photo in photos]
    made_by = {process for process, _ in made}
    assert os.getpid() not in made_by
    assert len(made_by) == (2 if busy else 3)


def test_little_work_is_done_here(photos: list[Path]) -> None:
    assert {process for process, _ in each_made(photos, process_and_hash)} == {os.getpid()}


@pytest.mark.usefixtures("shared")
def test_a_photo_that_cannot_be_read_is_named_once_those_before_it_are_given(photos: list[Path]) -> None:
    photos[6].write_bytes(b"no photo")
    given = each_made(photos, process_and_hash)
    assert [next(given)[1] for _ in range(6)] == [content_hash(open_image(photo)) for photo in photos[:6]]
    with pytest.raises(InputError, match=r"6\.png"):
        next(given)


@pytest.mark.usefixtures("shared")
def test_a_first_photo_that_cannot_be_read_is_named_by_whoever_opens_it(photos: list[Path]) -> None:
    photos[0].write_bytes(b"no photo")
    with pytest.raises(InputError, match=r"0\.png"):
        list(each_made(photos, process_and_hash))


def end(photo: Path, last: Path) -> None:
    if photo == last:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.usefixtures("shared")
def test_a_process_that_is_killed_is_a_sentence(photos: list[Path]) -> None:
    with pytest.raises(InputError, match="a process that opened photos was killed"):
        list(each_made(photos, partial(end, last=photos[4])))


@pytest.mark.usefixtures("shared")
def test_checks_of_photos_come_to_the_same(photos: list[Path], tmp_path: Path) -> None:
    looks = dict[str, Look]()
    samples = [Sample(photo, "") for photo in (*photos, photos[0])]
    samples.append(Sample(open_image(photos[1]), ""))
    digests = validate(samples, "retained", looks)
    assert digests == [content_hash(open_image(sample)) for sample in samples]
    assert set(looks) == set(digests)
    small = tmp_path / "small.jpg"
    open_image(photos[3]).resize((64, 64)).save(small)
    with pytest.raises(InputError, match=r"small\.jpg is target image .*3\.png resized"):
        check_disjoint(samples[:5], [Sample(small, "")])
