"""Moments that were cut off go on where they were, and end as if they had not been."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL.Image import Image

from unsee.cli.main import main
from unsee.data import load as photos
from unsee.errors import InputError
from unsee.methods import NSCVF
from unsee.models.checkpoint import Vlm
from unsee.moments import measure as room
from unsee.moments import stream, unfinished
from unsee.moments.file import read
from unsee.moments.measure import measure
from unsee.moments.records import Moments
from unsee.records import Sample
from unsee.system.memory import plan
from unsee.testing import photo_folder

SETTINGS = NSCVF(runs=1).moment_settings(0)
HELD = 6  # photos; all others are opened once more, for the sums
Opening = Callable[..., stream.Opened]


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    """Twenty photos of which six are held, one at a time, with sums that are kept after each."""
    monkeypatch.setattr(room, "FEWEST", HELD)
    monkeypatch.setattr(unfinished, "EVERY_S", 0.0)
    monkeypatch.setattr(unfinished, "SHARE", float("inf"))
    return photos(photo_folder(tmp_path / "others", 4, seed=6, concepts=5))


def counted(vlm: Vlm, samples: Sequence[Sample], state: Path | None, grams: int = 1 << 40) -> Moments:
    """The moments, in passes over so many numbers of Grams at most."""
    bounds = replace(plan("normal", 0), photos=1, images=1, grams=grams)
    return measure(vlm, samples, SETTINGS, bounds, state=state)[0]


def cut_off(opening: Opening, after: int) -> Opening:
    """Opens so many photos, and is then interrupted."""
    opened = list[object]()

    def open_some(processor: object, picture: Path | Image) -> stream.Opened:
        if len(opened) == after:
            raise KeyboardInterrupt
        opened.append(picture)
        return opening(processor, picture)

    return open_some


def counting(opening: Opening, seen: list[object]) -> Opening:
    """Opens photos, and says which."""

    def open_one(processor: object, picture: Path | Image) -> stream.Opened:
        seen.append(picture)
        return opening(processor, picture)

    return open_one


@pytest.mark.parametrize("grams", [1 << 40, 1])
def test_what_was_counted_is_not_counted_again(
    vlm: Vlm, samples: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grams: int
) -> None:
    """In one pass over all layers, or in one for each: the sums are the same numbers."""
    whole, state, opening = counted(vlm, samples, None, grams), tmp_path / "sums.safetensors", stream.opened
    monkeypatch.setattr(stream, "opened", cut_off(opening, after=13))
    with pytest.raises(KeyboardInterrupt):
        counted(vlm, samples, state, grams)
    seen = list[object]()
    monkeypatch.setattr(stream, "opened", counting(opening, seen))
    again = counted(vlm, samples, state, grams)
    passes = 1 if grams > 1 else len(whole.grams)
    assert len(seen) == passes * len(samples) - 13
    assert again.hashes == whole.hashes
    for name, gram in whole.grams.items():
        assert again.grams[name].outer.equal(gram.outer)
        assert again.grams[name].total.equal(gram.total)
        assert again.grams[name].count == gram.count


def test_sums_of_other_photos_are_refused(vlm: Vlm, samples: list[Sample], tmp_path: Path) -> None:
    state = tmp_path / "sums.safetensors"
    counted(vlm, samples, state)
    with pytest.raises(InputError, match="belongs to a run with other settings, photos or model"):
        counted(vlm, samples[1:], state)


def test_a_damaged_file_is_named(vlm: Vlm, samples: list[Sample], tmp_path: Path) -> None:
    state = tmp_path / "sums.safetensors"
    counted(vlm, samples, state)
    whole = state.read_bytes()
    for damaged in (whole[:-1], whole[:40], bytes([*whole[:-1], whole[-1] ^ 1])):
        state.write_bytes(damaged)
        with pytest.raises(InputError, match=state.name):
            counted(vlm, samples, state)


def test_the_command_goes_on_with_resume(
    samples: list[Sample],
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(room, "DESCRIBED", HELD)
    monkeypatch.setattr(room, "BATCH", 1)
    out, opening = tmp_path / "moments.safetensors", stream.opened
    words = ["moments", "--model", str(checkpoint), "--retain", str(tmp_path / "others"), "--out", str(out)]
    words += ["--ask", "never"]
    monkeypatch.setattr(stream, "opened", cut_off(opening, after=9))
    assert main(words) == 130
    assert "what was measured is kept: run again with --resume" in capsys.readouterr().err
    assert not out.exists()
    assert main(words) == 2
    assert "was cut off and can go on: add --resume" in capsys.readouterr().err
    seen = list[object]()
    monkeypatch.setattr(stream, "opened", counting(opening, seen))
    assert main([*words, "--resume"]) == 0
    assert len(seen) == len(samples) - 9
    assert read(out).count == len(samples)
    assert not (tmp_path / ".moments.safetensors.unfinished").exists()
