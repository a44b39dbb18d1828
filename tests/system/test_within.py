"""Work that takes too long is cut off, and what comes after it is not."""

import signal
from pathlib import Path

import pytest

from unsee.data import images
from unsee.data.images import open_image
from unsee.errors import InputError
from unsee.system.signals import within


def endless() -> None:
    while True:
        pass


def test_what_takes_longer_ends_and_the_clock_with_it() -> None:
    before = signal.getsignal(signal.SIGVTALRM)
    with pytest.raises(TimeoutError, match="longer than 0 s"), within(0.05):
        endless()
    with within(60.0), within(0.01):  # the outer clock stays
        assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] > 1
    assert signal.getitimer(signal.ITIMER_VIRTUAL)[0] == 0
    assert signal.getsignal(signal.SIGVTALRM) == before


def test_an_image_whose_decoder_goes_pixel_by_pixel_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Pillow's does for text files with an odd greatest value, and for run-length encoded BMP."""
    monkeypatch.setattr(images, "DECODING", 0.05)
    place = tmp_path / "slow.ppm"
    place.write_bytes(b"P6 2000 2000 60000 " + bytes(2000 * 2000 * 6))
    with pytest.raises(InputError, match=r"slow\.ppm cannot be read as an image \(it takes longer than 0 s\)"):
        open_image(place)
