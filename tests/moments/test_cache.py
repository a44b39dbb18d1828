"""What is measured of retained photos is kept for later runs: the same numbers, and never those of something else."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unsee import api
from unsee.data import load as load_photos
from unsee.errors import InputError
from unsee.models.checkpoint import Vlm
from unsee.moments import measure as measuring
from unsee.moments.cache import cache_of
from unsee.moments.measure import measure
from unsee.moments.records import Moments, MomentSettings
from unsee.system.disk import umask
from unsee.testing import photo_folder

Run = Callable[..., int]


class Passes:
    """Counts the passes over photos that measure layers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        monkeypatch.setattr(measuring, "retained_grams", self._counted(measuring.retained_grams))
        monkeypatch.setattr(measuring, "all_features", self._counted(measuring.all_features))

    def _counted(self, work: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **kwargs: object) -> object:
            self.made += 1
            return work(*args, **kwargs)

        return counted


def measured(vlm: Vlm, folder: Path, seed: int = 0, photos: int = 4 << 30, scratch: Path | None = None) -> Moments:
    bounds = replace(vlm.bounds("normal" if scratch is None else "low"), photos=photos)
    return measure(vlm, load_photos(folder), MomentSettings(modes=3, seed=seed), bounds, scratch)[0]


def same(one: Moments, other: Moments) -> None:
    assert one.hashes == other.hashes
    assert list(one.grams) == list(other.grams)
    for name in one.grams:
        torch.testing.assert_close(one.grams[name].outer, other.grams[name].outer, rtol=0, atol=0)
        assert one.grams[name].count == other.grams[name].count
    assert torch.equal(one.features.mean, other.features.mean)


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("photos", [4 << 30, 1], ids=["held", "streamed"])
def test_a_second_run_has_the_same_numbers_without_a_pass(
    vlm: Vlm, retained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: int, *, low: bool
) -> None:
    monkeypatch.setattr(measuring, "FEWEST", 5)
    places = [tmp_path / name if low else None for name in ("a", "b", "c")]
    for place in places:
        if place is not None:
            place.mkdir()
    without = measured(vlm, retained, photos=photos, scratch=places[0])
    cached = replace(vlm, cache=tmp_path / "cache")
    first = measured(cached, retained, photos=photos, scratch=places[1])
    passes = Passes(monkeypatch)
    second = measured(cached, retained, photos=photos, scratch=places[2])
    assert passes.made == 1  # of one photo, for how much room a photo takes
    same(without, first)
    same(first, second)


def test_another_seed_takes_the_same_sums(
    vlm: Vlm, retained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = replace(vlm, cache=tmp_path / "cache")
    measured(cached, retained)
    passes = Passes(monkeypatch)
    measured(cached, retained, seed=1)
    assert passes.made == 1


def test_what_another_model_or_another_photo_left_is_not_taken(vlm: Vlm, retained: Path, tmp_path: Path) -> None:
    cached = replace(vlm, cache=tmp_path / "cache")
    measured(cached, retained)
    others = photo_folder(tmp_path / "others", 3, seed=3, concepts=4)
    same(measured(vlm, others), measured(cached, others))
    weight = next(p for n, p in vlm.model.named_parameters() if n in vlm.partition.visual)
    old = weight.detach().clone()
    try:
        weight.data.mul_(1.5)
        same(measured(vlm, retained), measured(cached, retained))
    finally:
        weight.data.copy_(old)


def test_what_is_damaged_is_said_and_made_again(
    vlm: Vlm, retained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cached = replace(vlm, cache=tmp_path / "cache")
    first = measured(cached, retained)
    files = sorted((tmp_path / "cache").iterdir())
    for number, file in enumerate(files):
        content = file.read_bytes()
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        file.write_bytes(flipped if number % 2 else content[: len(content) // 2])
    with caplog.at_level(logging.WARNING, "unsee"):
        same(first, measured(cached, retained))
    assert all(f"{file.name} of the cache is damaged" in caplog.text for file in files)
    caplog.clear()
    same(first, measured(cached, retained))
    assert not caplog.text


def test_a_full_disk_costs_the_cache_and_not_the_run(
    vlm: Vlm, retained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unsee.moments.cache.write", full)
    with caplog.at_level(logging.WARNING, "unsee"):
        same(measured(vlm, retained), measured(replace(vlm, cache=tmp_path / "cache"), retained))
    assert "No space left on device" in caplog.text
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())


def test_only_its_owner_reads_it(vlm: Vlm, retained: Path, tmp_path: Path) -> None:
    measured(replace(vlm, cache=tmp_path / "cache"), retained)
    modes = {file.stat().st_mode & 0o777 for file in (tmp_path / "cache").iterdir()}
    assert modes == {0o600 & ~umask()}


def test_a_file_is_no_cache(vlm: Vlm, target: Path, retained: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")
    with pytest.raises(InputError, match="is no folder"):
        cache_of(replace(vlm, cache=tmp_path / "cache"))
    with pytest.raises(InputError, match="is no folder"):
        api.forget(vlm, target, retained, cache=tmp_path / "cache", ask="never")


def test_a_request_says_nothing_of_the_target_there(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    few = ("--steps", 2, "--views", 4, "--batch", 4, "--ask", "never", "--keep-anyway")
    given = ("--model", checkpoint, "--retain", retained, "--cache", tmp_path / "cache", *few)
    assert unsee("forget", *given, "--target", target, "--out", tmp_path / "a") in (0, 1)
    kept = sorted(file.name for file in (tmp_path / "cache").iterdir())
    other = photo_folder(tmp_path / "other", 3, seed=9)
    assert unsee("forget", *given, "--target", other, "--out", tmp_path / "b", "--seed", 1) in (0, 1)
    assert sorted(file.name for file in (tmp_path / "cache").iterdir()) == kept


def test_what_was_kept_of_other_photos_is_not_taken_for_these(
    vlm: Vlm, retained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whole files, under the names of others: as after a restore that mixed two folders up."""
    one, two = (replace(vlm, cache=tmp_path / name) for name in ("one", "two"))
    first = measured(one, retained)
    measured(two, photo_folder(tmp_path / "others", 3, seed=7, concepts=4))
    for kind in ("hashes", "features", "gram"):
        others = sorted((tmp_path / "two").glob(f"{kind}-*"))
        for file, other in zip(sorted((tmp_path / "one").glob(f"{kind}-*")), others, strict=True):
            shutil.copyfile(other, file)
    with caplog.at_level("WARNING", "unsee"):
        same(first, measured(one, retained))
    assert "it was kept under another name" in caplog.text
