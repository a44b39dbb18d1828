"""Moments: a file holds what was measured, belongs to one model, and knows which images it was measured on."""

import copy
import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from by_hand import edited, rewritten
from unsee import api, data
from unsee.data import content_hash, open_image
from unsee.errors import InputError
from unsee.linalg.gram import Gram, gram_of
from unsee.methods import NSCVF
from unsee.models.checkpoint import Vlm, load, visual_parameters
from unsee.models.features import Inputs, visual_features
from unsee.models.inputs import image_inputs
from unsee.models.outline import hooked, last_layers, outline
from unsee.moments.file import SINGLE, StoredGrams, read, save
from unsee.moments.measure import NEGLIGIBLE, measure, retained_grams
from unsee.moments.reading import Reader
from unsee.moments.records import AUTO, READ, Moments, MomentSettings
from unsee.moments.vectors import RUNS
from unsee.records import Sample
from unsee.system.memory import UNBOUNDED, Memory, plan
from unsee.testing import images, photo_folder

SETTINGS = MomentSettings(modes=2, seed=0)
NORMAL = plan("normal", 0)
LOW = Memory(images=1, grams=40_000, weights=10_000, frugal=True)  # a few layers in each pass


@pytest.fixture(scope="module")
def moments(vlm: Vlm, retained: Path) -> Moments:
    return measure(vlm, data.load(retained), SETTINGS, NORMAL)[0]


def test_a_model_that_makes_the_same_of_every_photo_is_named(checkpoint: Path, retained: Path) -> None:
    blind = load(checkpoint)
    with torch.no_grad():
        for name, value in visual_parameters(blind.model, blind.partition).items():
            value.mul_(0.0 if "projector" in name else 1.0)
    with pytest.raises(InputError, match="are the same to the visual part"):
        measure(blind, data.load(retained), SETTINGS, NORMAL)


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
    assert again.first == moments.first
    assert set(again.first.values()) == set(again.grams)
    known, found = moments.features, again.features
    assert torch.equal(known.mean, found.mean)
    assert torch.equal(known.within, found.within)
    assert known.spread == found.spread
    assert known.layout == found.layout
    assert torch.equal(known.modes.centers, found.modes.centers)
    assert torch.equal(known.modes.concept, found.modes.concept)
    for name, value in vars(known.discriminant).items():
        assert torch.equal(value, vars(found.discriminant)[name])


def test_a_share_of_the_layers_has_the_same_grams_and_the_others_none(
    vlm: Vlm, moments: Moments, retained: Path
) -> None:
    some, _ = measure(vlm, data.load(retained), SETTINGS, NORMAL, share=0.4)
    wanted = last_layers(list(moments.first), len(moments.features.layout.shapes), 0.4)
    assert some.first == moments.first
    assert set(some.grams) == {moments.first[name] for name in wanted} < set(moments.grams)
    assert all(torch.equal(gram.outer, moments.grams[name].outer) for name, gram in some.grams.items())


@pytest.mark.parametrize("width", [1, SINGLE - 1, SINGLE])
def test_wide_grams_are_kept_in_single_precision_and_others_exactly(
    width: int, vlm: Vlm, moments: Moments, tmp_path: Path
) -> None:
    generator, file = torch.Generator().manual_seed(0), tmp_path / "moments.safetensors"
    gram = gram_of(torch.randn(40, width, generator=generator, dtype=torch.float64) + 1)
    save(dataclasses.replace(moments, grams={"layer": gram}, first={"layer": "layer"}), file)
    found = read(file).grams["layer"]
    assert torch.equal(found.outer, found.outer.T)
    assert torch.equal(found.total, gram.total)
    torch.testing.assert_close(found.outer, gram.outer, rtol=1e-6 if width >= SINGLE else 0, atol=0)
    assert torch.equal(found.outer, gram.outer) == (width < SINGLE)
    numbers = width * (width + 1) // 2 * (4 if width >= SINGLE else 8)
    assert numbers < file.stat().st_size < numbers + 8 * width + 200_000  # half of the matrix alone is stored


@pytest.fixture(scope="module")
def double(vlm: Vlm) -> tuple[Vlm, list[Inputs], list[str]]:
    """The model in double precision, images for it, and the layers whose Grams are wanted."""
    inputs = image_inputs(vlm.processor, images(5, size=48))
    layers = list(dict.fromkeys(outline(vlm.outline, vlm.partition, inputs[0]).first.values()))
    wide = [{name: value.double() for name, value in image.items()} for image in inputs]
    return dataclasses.replace(vlm, model=copy.deepcopy(vlm.model).double()), wide, layers


def gaps(one: Mapping[str, Gram], other: Mapping[str, Gram]) -> list[float]:
    """The largest relative difference of the numbers of each pair of Grams."""
    assert list(one) == list(other)
    assert all(one[name].count == other[name].count for name in one)
    return [float((one[n].outer - other[n].outer).abs().max() / one[n].outer.abs().max()) for n in one]


def test_grams_equal_a_direct_computation(double: tuple[Vlm, list[Inputs], list[str]]) -> None:
    vlm, inputs, layers = double
    grams, modules, read_there = retained_grams(vlm, inputs, layers, NORMAL), dict(vlm.model.named_modules()), {}
    with hooked((modules[name], lambda h, name=name: read_there.update({name: h})) for name in layers):
        visual_features(vlm.model, inputs)
    direct = {name: gram_of(h) for name, h in read_there.items()}
    assert max(gaps(grams, {name: direct[name] for name in layers})) < 1e-9


@pytest.mark.parametrize("scratch", [False, True], ids=["memory", "disk"])
@pytest.mark.parametrize("numbers", [1, 40_000, UNBOUNDED])
def test_passes_of_few_layers_and_images_give_the_same_grams(
    numbers: int, scratch: bool, double: tuple[Vlm, list[Inputs], list[str]], tmp_path: Path
) -> None:
    vlm, inputs, layers = double
    at_once = retained_grams(vlm, inputs, layers, NORMAL)
    place = tmp_path if scratch else None
    apart = retained_grams(vlm, inputs, layers, dataclasses.replace(LOW, grams=numbers), place)
    assert max(gaps(at_once, apart)) < 1e-9
    assert isinstance(apart, StoredGrams) == scratch
    assert len(list(tmp_path.iterdir())) == (len(layers) if scratch else 0)


def test_a_low_measurement_is_the_same(vlm: Vlm, moments: Moments, retained: Path, tmp_path: Path) -> None:
    low, photos = measure(vlm, data.load(retained), SETTINGS, LOW, tmp_path)
    assert (low.count, low.hashes, low.model, low.first) == (
        moments.count, moments.hashes, moments.model, moments.first
    )  # fmt: skip
    assert max(gaps(moments.grams, low.grams)) < 1e-5  # of a model in single precision
    torch.testing.assert_close(low.features.mean, moments.features.mean, rtol=1e-4, atol=1e-5)
    assert len(photos.inputs) == len(photos.features) == moments.count
    save(low, tmp_path / "moments.safetensors")
    again = read(tmp_path / "moments.safetensors", vlm)
    assert max(gaps(low.grams, again.grams)) == 0


def test_a_crossing_that_does_not_exist_is_refused(vlm: Vlm, retained: Path) -> None:
    asked = dataclasses.replace(SETTINGS, crossings=("nowhere",))
    with pytest.raises(InputError, match="there is no crossing nowhere; this model has projector"):
        measure(vlm, data.load(retained), asked, NORMAL)


def test_a_disk_that_refuses_the_grams_is_named(vlm: Vlm, retained: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere cannot hold the moments"):
        measure(vlm, data.load(retained), SETTINGS, LOW, tmp_path / "nowhere")


def test_they_hold_the_hash_of_every_image_and_no_image(moments: Moments, retained: Path) -> None:
    photos = sorted(retained.rglob("*.png"))
    assert moments.count == len(photos)
    assert sorted(moments.hashes) == sorted(content_hash(open_image(photo)) for photo in photos)


def test_moments_of_another_model_are_refused(vlm: Vlm, moments: Moments, tmp_path: Path) -> None:
    file, other = tmp_path / "moments.safetensors", tmp_path / "other"
    save(moments, file)
    shutil.copytree(vlm.folder, other)
    read(file, load(other))  # the same weights in another folder are the same model
    changed = load(other)
    visual_parameters(changed.model, changed.partition)[changed.partition.visual[0]].view(-1)[0] += 1
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


@pytest.mark.parametrize("lost", ["layers", "layout", "spread", "hashes", "model", "guard"])
def test_a_file_that_lacks_a_fact_is_refused(lost: str, vlm: Vlm, moments: Moments, tmp_path: Path) -> None:
    file = tmp_path / "moments.safetensors"
    save(moments, file)
    rewritten(file, lambda content: edited(content, ("facts", lost), ...))
    with pytest.raises(InputError, match="not a moments file"):
        read(file, vlm)


def test_a_target_that_was_measured_as_retained_is_refused(vlm: Vlm, moments: Moments) -> None:
    shared, strange = images(12, seed=2)[4], images(1, seed=99)[0]
    target = [Sample(strange, "a"), Sample(shared.convert("RGBA"), "a")]
    with pytest.raises(InputError, match="was among the retained images of the moments"):
        api.forget(vlm, target, moments=moments, method=NSCVF(steps=1), ask="never")


def test_a_failed_write_leaves_nothing(moments: Moments, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is no folder, so that nothing can be written below it"):
        save(moments, tmp_path / "file" / "moments.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(("count", "concepts"), [(1, 1), (2, 1)])
def test_too_few_images_are_refused(count: int, concepts: int, vlm: Vlm, tmp_path: Path) -> None:
    few = data.load(photo_folder(tmp_path / "few", count, concepts=concepts))
    with pytest.raises(InputError, match="too few"):
        measure(vlm, few, SETTINGS, NORMAL)


def test_images_without_concepts_are_clustered(vlm: Vlm) -> None:
    moments, photos = measure(vlm, [Sample(image, "all") for image in images(12)], SETTINGS, NORMAL)
    assert len(photos.names) == 1
    assert len(moments.features.discriminant.concepts) > 1


def test_one_photo_of_each_person_says_as_much_as_photos_without_names(vlm: Vlm) -> None:
    pictures = images(12)
    one = [Sample(picture, "someone") for picture in pictures]
    each = [Sample(picture, f"person {number:02d}") for number, picture in enumerate(pictures)]
    (nameless, _), (named, _) = (measure(vlm, samples, SETTINGS, NORMAL) for samples in (one, each))
    assert torch.equal(nameless.concept, named.concept)
    assert torch.equal(nameless.features.modes.centers, named.features.modes.centers)


def test_two_photos_of_each_person_are_enough(vlm: Vlm) -> None:
    samples = [Sample(picture, f"person {number % 6}") for number, picture in enumerate(images(12))]
    moments, _ = measure(vlm, samples, dataclasses.replace(SETTINGS, runs=1), NORMAL)
    assert len(moments.features.discriminant.concepts) == 6


def test_without_a_reader_the_description_that_tells_concepts_apart_best_is_taken(vlm: Vlm, retained: Path) -> None:
    samples = data.load(retained)
    found, _ = measure(vlm, samples, dataclasses.replace(SETTINGS, runs=AUTO), NORMAL)
    tried = [measure(vlm, samples, dataclasses.replace(SETTINGS, runs=runs), NORMAL)[0] for runs in (1, RUNS, 0)]
    assert found.telling is not None
    best = min(moments.telling.loss for moments in tried if moments.telling is not None)
    assert found.telling.loss <= best + NEGLIGIBLE
    assert found.features.layout in [moments.features.layout for moments in tried]


def test_what_the_language_model_reads_needs_one(vlm: Vlm, retained: Path) -> None:
    with pytest.raises(InputError, match="--runs read needs the language model"):
        measure(vlm, data.load(retained), dataclasses.replace(SETTINGS, runs=READ), NORMAL)


@pytest.mark.parametrize("runs", [AUTO, READ])
def test_with_a_reader_images_are_described_by_what_it_reads_and_a_file_keeps_that(
    runs: str, vlm: Vlm, whole: Vlm, retained: Path, tmp_path: Path
) -> None:
    samples, reader = data.load(retained), Reader(whole, "Who is this?", 8, {}, (), frozenset())
    moments, photos = measure(vlm, samples, dataclasses.replace(SETTINGS, runs=runs), NORMAL, reader=reader)
    how = moments.features.layout
    assert how.basis is not None
    assert len(how.basis) <= 2 * len(samples)
    assert moments.features.mean.shape == (len(how.basis),)
    save(moments, tmp_path / "moments.safetensors")
    again = read(tmp_path / "moments.safetensors", vlm).features.layout
    assert again.basis is not None
    assert torch.equal(again.basis, how.basis)
    assert torch.equal(again.vectors(photos.features), how.vectors(photos.features))
