"""People who do not exist: pictures made of two retained photos, of different concepts, and their features."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unsee.data.views import composed
from unsee.forgetting import composites as module
from unsee.forgetting.composites import composites, with_composites
from unsee.models.checkpoint import Vlm
from unsee.models.features import all_features
from unsee.moments.measure import prepare
from unsee.moments.records import Photos
from unsee.records import Sample
from unsee.testing import images

BLACK, WHITE = Image.new("RGB", (40, 30), "black"), Image.new("RGB", (20, 50), "white")


@pytest.fixture(scope="module")
def photos(vlm: Vlm) -> Photos:
    samples = [Sample(image, f"person {number % 3}") for number, image in enumerate(images(9))]
    return prepare(vlm, samples, 8)


def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Image.Image, Image.Image]]:
    """The pairs of photos of which pictures are put together."""
    pairs = list[tuple[Image.Image, Image.Image]]()

    def noted(first: Image.Image, second: Image.Image, generator: torch.Generator) -> Image.Image:
        pairs.append((first, second))
        return composed(first, second, generator)

    monkeypatch.setattr(module, "composed", noted)
    return pairs


def place(photos: Photos, image: Image.Image) -> int:
    pixels = [picture.tobytes() for picture in photos.pictures if isinstance(picture, Image.Image)]
    return pixels.index(image.tobytes())


def test_each_is_of_two_concepts(vlm: Vlm, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = made(monkeypatch)
    inputs, features = composites(vlm, photos, 30, 0, 8)
    assert len(pairs) == len(inputs) == len(features) == 30
    for first, second in pairs:
        assert photos.concept[place(photos, first)] != photos.concept[place(photos, second)]
    assert {place(photos, first) for first, _ in pairs} == set(range(9))  # every photo gives a part


def test_their_features_are_those_of_the_model_as_it_is(vlm: Vlm, photos: Photos) -> None:
    inputs, features = composites(vlm, photos, 5, 0, 2)
    again = all_features(vlm.model, inputs, 8)
    torch.testing.assert_close(features.values["projector"], again.values["projector"])


def test_a_seed_decides_every_pixel(vlm: Vlm, photos: Photos) -> None:
    one, two, other = (composites(vlm, photos, 4, seed, 8)[0] for seed in (1, 1, 2))
    assert all(torch.equal(a["pixel_values"], b["pixel_values"]) for a, b in zip(one, two, strict=True))
    assert not any(torch.equal(a["pixel_values"], b["pixel_values"]) for a, b in zip(one, other, strict=True))
    more = composites(vlm, photos, 6, 1, 8)[0]  # the first of more are the same
    assert all(torch.equal(a["pixel_values"], b["pixel_values"]) for a, b in zip(one, more, strict=False))


def test_photos_of_one_concept_are_put_together_too_and_a_single_photo_is_not(
    vlm: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = made(monkeypatch)
    one = prepare(vlm, [Sample(image, "all") for image in images(3)], 8)
    assert len(composites(vlm, one, 20, 0, 8)[0]) == len(pairs) == 20
    assert all(place(one, first) != place(one, second) for first, second in pairs)
    single = prepare(vlm, [Sample(image, "all") for image in images(1)], 8)
    inputs, features = composites(vlm, single, 4, 0, 8)
    assert inputs == []
    assert len(features) == 0


def test_there_are_no_more_than_memory_has_room_for(vlm: Vlm, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    size = photos.features.values["projector"][:1].nbytes
    monkeypatch.setattr(module, "MOST_BYTES", 3 * size + size // 2)
    assert len(composites(vlm, photos, 10, 0, 8)[0]) == 3
    assert len(composites(vlm, photos, 2, 0, 8)[0]) == 2


@pytest.mark.parametrize("count", [0, 4])
def test_with_them_the_photos_come_first_and_are_what_they_were(count: int, vlm: Vlm, photos: Photos) -> None:
    """Their features too: those that are to be kept, which may be an earlier model's."""
    earlier = replace(photos, features=replace(photos.features, values={"projector": torch.ones(9, 36, 32)}))
    inputs, features = with_composites(vlm, earlier, count, 0, 8)
    assert inputs[:9] == photos.inputs
    assert len(inputs) == len(features) == 9 + count
    assert torch.equal(features.values["projector"][:9], torch.ones(9, 36, 32))
    assert not torch.isclose(features.values["projector"][9:], torch.ones(1)).all(2).any()


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.integers(0, 10**6))
def test_a_composite_has_the_size_of_the_first_and_a_good_part_of_both(seed: int) -> None:
    image = composed(BLACK, WHITE, torch.Generator().manual_seed(seed))
    assert image.size == BLACK.size
    white = sum(image.convert("L").histogram()[128:]) / (40 * 30)
    assert 0.1 < white < 0.9
