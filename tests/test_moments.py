"""Moments: a file holds what was measured, belongs to one model, and knows which images it was measured on."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from unsee import api, data
from unsee.data import content_hash, open_image
from unsee.errors import InputError
from unsee.methods import NSCVF
from unsee.models.checkpoint import Vlm, load
from unsee.moments import Moments, MomentSettings, measure, read, save
from unsee.records import Sample
from unsee.testing import images, photo_folder

SETTINGS = MomentSettings(modes=2, seed=0)


@pytest.fixture(scope="module")
def moments(vlm: Vlm, retained: Path) -> Moments:
    return measure(vlm, data.load(retained), SETTINGS)[0]


def test_what_is_read_equals_what_was_saved(vlm: Vlm, moments: Moments, tmp_path: Path) -> None:
    save(moments, tmp_path / "moments.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["moments.safetensors"]
    again = read(tmp_path / "moments.safetensors", vlm)
    assert (again.count, again.hashes, again.model) == (moments.count, moments.hashes, moments.model)
    assert list(again.grams) == list(moments.grams)
    for name, gram in moments.grams.items():
        assert torch.equal(again.grams[name].outer, gram.outer)
        assert torch.equal(again.grams[name].total, gram.total)
        assert again.grams[name].count == gram.count
    sharing = [[a is b for b in found.grams.values()] for found in (moments, again) for a in found.grams.values()]
    assert sharing[: len(sharing) // 2] == sharing[len(sharing) // 2 :]
    known, found = moments.features, again.features
    assert torch.equal(known.mean, found.mean)
    assert known.spread == found.spread
    assert torch.equal(known.modes.centers, found.modes.centers)
    assert torch.equal(known.modes.concept, found.modes.concept)
    for name, value in vars(known.discriminant).items():
        assert torch.equal(value, vars(found.discriminant)[name])


def test_they_hold_the_hash_of_every_image_and_no_image(moments: Moments, retained: Path) -> None:
    photos = sorted(retained.rglob("*.png"))
    assert moments.count == len(photos)
    assert sorted(moments.hashes) == sorted(content_hash(open_image(photo)) for photo in photos)


def test_moments_of_another_model_are_refused(vlm: Vlm, moments: Moments, tmp_path: Path) -> None:
    file, other = tmp_path / "moments.safetensors", tmp_path / "other"
    save(moments, file)
    load(vlm.folder).model.save_pretrained(other)
    shutil.copytree(vlm.folder, other, dirs_exist_ok=True)
    read(file, load(other))  # the same weights in another folder are the same model
    changed = load(other)
    dict(changed.model.named_parameters())[changed.partition.visual[0]].view(-1)[0] += 1
    with pytest.raises(InputError, match="measured on another model"):
        read(file, changed)


@pytest.mark.parametrize("content", [None, "text", {"format": "another"}, {"format": "unsee-moments-1"}])
def test_a_file_that_is_none_is_refused(content: object, vlm: Vlm, tmp_path: Path) -> None:
    file = tmp_path / "moments.safetensors"
    if isinstance(content, str):
        file.write_text(content)
    elif isinstance(content, dict):
        save_file({"mean": torch.zeros(1)}, file, metadata=content)
    with pytest.raises(InputError, match="not a moments file"):
        read(file, vlm)


@pytest.mark.parametrize("lost", ["layers", "spread", "hashes", "model"])
def test_a_file_that_lacks_a_fact_is_refused(lost: str, vlm: Vlm, moments: Moments, tmp_path: Path) -> None:
    from safetensors import safe_open

    file = tmp_path / "moments.safetensors"
    save(moments, file)
    with safe_open(file, framework="pt") as stored:
        metadata = stored.metadata()
        tensors = {name: stored.get_tensor(name) for name in list(stored.keys())}
    facts = json.loads(metadata["facts"])
    del facts[lost]
    save_file(tensors, file, metadata={**metadata, "facts": json.dumps(facts)})
    with pytest.raises(InputError, match="not a moments file"):
        read(file, vlm)


def test_a_target_that_was_measured_as_retained_is_refused(vlm: Vlm, moments: Moments) -> None:
    shared, strange = images(12, seed=2)[4], images(1, seed=99)[0]
    target = [Sample(strange, "a"), Sample(shared.convert("RGBA"), "a")]
    with pytest.raises(InputError, match="was among the retained images of the moments"):
        api.forget(vlm, target, moments=moments, method=NSCVF(steps=1))


def test_a_failed_write_leaves_nothing(moments: Moments, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="could not be written"):
        save(moments, tmp_path / "nowhere" / "moments.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("count", "concepts"), [(1, 1), (2, 1)])
def test_too_few_images_are_refused(count: int, concepts: int, vlm: Vlm, tmp_path: Path) -> None:
    few = data.load(photo_folder(tmp_path / "few", count, concepts=concepts))
    with pytest.raises(InputError, match="too few"):
        measure(vlm, few, SETTINGS)


def test_images_without_concepts_are_clustered(vlm: Vlm) -> None:
    moments, photos = measure(vlm, [Sample(image, "all") for image in images(12)], SETTINGS)
    assert len(photos.names) == 1
    assert len(moments.features.discriminant.concepts) > 1
