"""Moments of parts add up to those of one pass over all photos."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unsee.data import load as photos
from unsee.errors import InputError
from unsee.methods import NSCVF
from unsee.models.checkpoint import Vlm
from unsee.moments.file import read, save
from unsee.moments.measure import measure
from unsee.moments.merge import merged
from unsee.moments.records import Moments
from unsee.records import Sample
from unsee.system.memory import plan
from unsee.testing import photo_folder

Run = Callable[..., int]

SETTINGS = NSCVF(runs=1).moment_settings(0)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return photos(photo_folder(tmp_path_factory.mktemp("many") / "others", 4, seed=5, concepts=6))


def measured(vlm: Vlm, samples: list[Sample], like: Moments | None = None) -> Moments:
    return measure(vlm, samples, SETTINGS, plan("normal", 0), alone=True, like=like)[0]


def test_parts_are_the_whole(vlm: Vlm, samples: list[Sample]) -> None:
    """Whoever is in which part: Grams, sums by concept, means, modes, states, and all that is made of them."""
    first = measured(vlm, samples[:12])
    whole = measured(vlm, samples, first)
    parts = merged([first, measured(vlm, samples[12:], first)], ["first", "second"])
    assert parts.hashes == whole.hashes
    assert torch.equal(parts.concept, whole.concept)
    for name, gram in whole.grams.items():
        assert torch.allclose(parts.grams[name].outer, gram.outer, rtol=1e-10, atol=1e-10)
        assert parts.grams[name].count == gram.count
    assert torch.allclose(parts.features.mean, whole.features.mean, atol=1e-6)
    assert torch.allclose(parts.features.modes.centers, whole.features.modes.centers, atol=1e-6)
    assert torch.equal(parts.features.modes.concept, whole.features.modes.concept)
    for one, other in ((parts.scatter, whole.scatter), (parts.states.sums, whole.states.sums)):
        assert torch.equal(one.counts, other.counts)
        assert torch.allclose(one.sums, other.sums, rtol=1e-8, atol=1e-8)
        assert torch.allclose(one.outer, other.outer, rtol=1e-8, atol=1e-8)
    assert torch.allclose(parts.features.discriminant.ratios, whole.features.discriminant.ratios, rtol=1e-3, atol=1e-3)


def test_of_parts_that_describe_photos_otherwise_the_grams_are_added(vlm: Vlm, samples: list[Sample]) -> None:
    first, whole = measured(vlm, samples[:12]), measured(vlm, samples)
    both = merged([first, measured(vlm, samples[12:])], ["a", "b"])
    for name, gram in whole.grams.items():
        assert torch.allclose(both.grams[name].outer, gram.outer, rtol=1e-10, atol=1e-10)
    assert both.hashes == whole.hashes
    assert both.concept.tolist() == [*first.concept.tolist(), *[-1] * 12]
    assert torch.equal(both.scatter.sums, first.scatter.sums)
    assert torch.allclose(both.features.mean, first.features.mean)


def test_what_cannot_be_added_is_refused(vlm: Vlm, samples: list[Sample]) -> None:
    first = measured(vlm, samples[:12])
    with pytest.raises(InputError, match="the same photo"):
        merged([first, measured(vlm, samples[8:], first)], ["a", "b"])
    with pytest.raises(InputError, match="different models"):
        merged([first, replace(measured(vlm, samples[12:], first), model="another")], ["a", "b"])
    some = measure(vlm, samples[12:], SETTINGS, plan("normal", 0), alone=True, like=first, share=0.4)[0]
    with pytest.raises(InputError, match="different layers"):
        merged([first, some], ["a", "b"])


def test_files_are_merged_and_used(
    unsee: Run, checkpoint: Path, vlm: Vlm, samples: list[Sample], target: Path, tmp_path: Path
) -> None:
    first = measured(vlm, samples[:12])
    files = [tmp_path / name for name in ("a.safetensors", "b.safetensors", "all.safetensors")]
    save(first, files[0])
    save(measured(vlm, samples[12:], first), files[1])
    model = ("--model", checkpoint)
    assert unsee("moments", "merge", *files[:2], "--out", files[2]) == 0
    assert read(files[2], vlm).count == 24
    assert unsee("moments", "merge", files[0], "--out", tmp_path / "one") == 2
    assert unsee("moments", "merge", *files[:2], "--out", files[0]) == 2
    given = ("--target", target, "--moments", files[2], "--ask", "never", "--steps", 2, "--keep-anyway")
    assert unsee("forget", *model, *given, "--out", tmp_path / "out") in (0, 1)


def test_layers_that_were_not_measured_are_named(
    unsee: Run, checkpoint: Path, retained: Path, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, file = ("--model", checkpoint), tmp_path / "some.safetensors"
    assert unsee("moments", *model, "--retain", retained, "--out", file) == 0
    given = (*model, "--target", target, "--moments", file, "--ask", "never", "--out", tmp_path / "out")
    assert unsee("forget", "closed_form", *given) == 2
    assert "--all-layers" in capsys.readouterr().err
    assert unsee("moments", *model, "--retain", retained, "--all-layers", "--out", file, "--overwrite") == 0
    assert unsee("forget", "closed_form", *given, "--sweeps", 1) in (0, 1)


def test_one_file_is_not_added_to_itself(vlm: Vlm, samples: list[Sample]) -> None:
    one = measured(vlm, samples)
    with pytest.raises(InputError, match="a and a have counted the same photo"):
        merged([one, one], ["a", "a"])


def test_why_the_model_is_not_asked_is_said(
    checkpoint: Path,
    retained: Path,
    tmp_path: Path,
    unsee: Run,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("unsee.evaluation.hearing.available", lambda: 0)
    given = ("moments", "--model", checkpoint, "--retain", retained)
    assert unsee(*given, "--out", tmp_path / "moments") == 0
    said = capsys.readouterr().err
    assert "does not fit into memory, so that it is not asked, and photos are described by means" in said
