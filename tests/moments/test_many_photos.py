"""More photos than the memory holds count all the same, and are let go."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unsee.data import load as photos
from unsee.data import workers
from unsee.errors import InputError
from unsee.methods import NSCVF
from unsee.models.checkpoint import Vlm
from unsee.moments import measure as room
from unsee.moments.measure import measure
from unsee.moments.stream import held
from unsee.system.memory import plan
from unsee.testing import photo_folder

SETTINGS = NSCVF(runs=1).moment_settings(0)


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(0, 40))
def test_so_many_are_held_of_each_concept_alike(concepts: list[str], most: int) -> None:
    places = held(concepts, most)
    assert places == sorted(set(places))
    assert len(places) == min(most, len(concepts))
    counts = [sum(concepts[place] == name for place in places) for name in set(concepts)]
    left = [concepts.count(name) - sum(concepts[place] == name for place in places) for name in set(concepts)]
    assert all(one >= max(counts) - 1 for one, more in zip(counts, left, strict=True) if more)


@pytest.mark.parametrize("others", [0, 1])
def test_photos_that_are_not_held_count_in_the_grams(
    vlm: Vlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """The Grams are those of all photos; the description comes from those that are held, and says which."""
    samples = photos(photo_folder(tmp_path / "others", 4, seed=6, concepts=5))
    whole, _ = measure(vlm, samples, SETTINGS, plan("normal", 0))
    monkeypatch.setattr(room, "FEWEST", 10)
    monkeypatch.setattr(workers, "_workers", lambda *_, busy: others if busy else 0)
    some, ready = measure(vlm, samples, SETTINGS, replace(plan("normal", 0), photos=1))
    assert len(ready.inputs) == int((some.concept >= 0).sum()) == 10
    assert some.hashes == whole.hashes
    for name, gram in whole.grams.items():
        assert torch.allclose(some.grams[name].outer, gram.outer, rtol=1e-4, atol=1e-4)
        assert some.grams[name].count == gram.count


def test_beside_moments_too_no_more_photos_are_ready_than_memory_holds(
    vlm: Vlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = photos(photo_folder(tmp_path / "others", 4, seed=6, concepts=5))
    moments, _ = measure(vlm, samples, SETTINGS, plan("normal", 0))
    monkeypatch.setattr(room, "FEWEST", 10)
    bounds = replace(plan("normal", 0), photos=1)
    ready, known = NSCVF(runs=1).known(vlm, [], samples, moments, 0, bounds, None)
    assert known is moments
    assert ready is not None
    assert len(ready.inputs) == len(ready.pictures) == 10
    assert len(ready.names) == 5


def test_of_many_photos_a_share_of_the_tokens_counts(vlm: Vlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place of an image comes up, and the sums are near those of all tokens; `exact` ones are those of all."""
    samples = photos(photo_folder(tmp_path / "others", 8, seed=6, concepts=8))
    whole, _ = measure(vlm, samples, SETTINGS, plan("normal", 0))
    monkeypatch.setattr(room, "FEWEST", 10)
    monkeypatch.setattr(room, "ENOUGH", 4)
    bounds = replace(plan("normal", 0), photos=1)
    some, _ = measure(vlm, samples, SETTINGS, bounds)
    exact, _ = measure(vlm, samples, SETTINGS, bounds, exact=True)
    fewer = 0
    for name, gram in whole.grams.items():
        assert torch.allclose(exact.grams[name].outer, gram.outer, rtol=1e-4, atol=1e-4)
        assert exact.grams[name].count == gram.count
        assert some.grams[name].count == pytest.approx(gram.count, rel=0.1)
        apart = (some.grams[name].second - gram.second).norm() / gram.second.norm()
        assert apart < 0.5
        fewer += apart > 1e-3
    assert fewer >= len(whole.grams) // 2


def test_a_photo_that_cannot_be_used_is_named(vlm: Vlm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another process opens it."""
    samples = photos(photo_folder(tmp_path / "others", 4, seed=6, concepts=5))
    monkeypatch.setattr(room, "FEWEST", 6)
    monkeypatch.setattr(workers, "_workers", lambda *_, busy: int(busy))
    broken = samples[3].image
    assert isinstance(broken, Path)
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(InputError, match=broken.name) as told:
        measure(vlm, samples, SETTINGS, replace(plan("normal", 0), photos=1))
    assert "Traceback" not in str(told.value)
