"""The same picture at half its size or as a JPEG is found again; another picture, or another colour, is not."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from unsee.benchmarks.personas.drawing import draw
from unsee.benchmarks.personas.people import population, train_shots
from unsee.data import check_disjoint
from unsee.data.similar import like, look
from unsee.errors import InputError
from unsee.records import Sample

theorem = settings(deadline=None, derandomize=True, max_examples=30)
seeds = st.integers(0, 10**6)


def photo(seed: int, side: int = 120) -> Image.Image:
    """An RGB image of smooth random shapes, with the colours and the falling spectrum of photos."""
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(0, 256, (10, 10, 3), dtype=np.uint8)).resize((side, side), Image.BICUBIC)
    fine = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).resize((side, side), Image.BICUBIC)
    return Image.blend(rough, fine, 0.2)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    encoded = BytesIO()
    image.save(encoded, "JPEG", quality=quality)
    return Image.open(BytesIO(encoded.getvalue()))


def half(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


def lit(image: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(1.03)


COPIES = {
    "half": half,
    "jpeg": lambda image: jpeg(image, 40),
    "both": lambda image: jpeg(half(image), 75),
    "lit": lit,
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(0.5)),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
@theorem
@given(seeds)
def test_a_copy_is_the_same_picture(copy, seed):
    image = photo(seed)
    assert like(look(copy(image)), {"it": look(image)}) == "it"


@theorem
@given(seeds)
def test_another_picture_is_not(seed):
    assert like(look(photo(seed)), {"it": look(photo(seed + 1))}) is None


@pytest.mark.parametrize(
    ("one", "two"), [("red", "blue"), ("red", "green"), ("black", "white"), ("gray", "black"), ("#d01010", "#1010d0")]
)
def test_plain_images_of_different_colours_are_different(one, two):
    """They have no structure that a perceptual hash could tell apart."""
    assert like(look(Image.new("RGB", (40, 40), one)), {"it": look(Image.new("RGB", (40, 40), two))}) is None
    assert like(look(Image.new("RGB", (20, 20), one)), {"it": look(Image.new("RGB", (40, 40), one))}) == "it"


def test_the_same_shapes_in_other_colours_are_another_picture():
    image = photo(0)
    assert like(look(Image.merge("RGB", image.split()[::-1])), {"it": look(image)}) is None


def test_two_photos_of_one_person_are_two_pictures():
    for person in population()[:3]:
        shots = [look(draw(shot)) for shot in train_shots(person)[:8]]
        for number, one in enumerate(shots):
            assert like(one, {str(n): other for n, other in enumerate(shots) if n != number}) is None


def test_the_first_of_several_is_named():
    image = look(photo(0))
    assert like(image, {"other": look(photo(1)), "first": image, "second": image}) == "first"
    assert like(image, {}) is None


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_a_retained_copy_of_a_target_image_is_refused_by_name(copy, tmp_path):
    image, place = photo(0), tmp_path / "alice.png"
    image.save(place)
    copy(image).save(tmp_path / "small.png")
    photo(1).save(tmp_path / "bob.png")
    target = [Sample(place, "alice")]
    retained = [Sample(tmp_path / name, "others") for name in ("bob.png", "small.png")]
    with pytest.raises(InputError, match=r"retained image .*small\.png is target image .*alice\.png resized") as error:
        check_disjoint(target, retained)
    assert "--drop-similar" in str(error.value)
    assert check_disjoint(target, retained, drop=True) == retained[:1]


def test_what_shows_no_target_picture_is_returned_as_it_is():
    target = [Sample(photo(seed), "target") for seed in range(2)]
    retained = [Sample(photo(seed), "other") for seed in range(2, 8)]
    assert check_disjoint(target, retained) == check_disjoint(target, retained, drop=True) == retained


def test_the_same_pixels_are_refused_and_not_dropped():
    """Who gives one image for both says two things of it."""
    image = photo(0)
    for drop in (False, True):
        with pytest.raises(InputError, match="show the same picture"):
            check_disjoint([Sample(image, "a")], [Sample(photo(1), "b"), Sample(image, "b")], drop=drop)


def test_a_question_without_an_image_is_no_retained_image():
    target, shown, text = [Sample(photo(0), "a")], Sample(photo(1), "b"), Sample(None, "b", "Where?", "there")
    assert check_disjoint(target, [text, shown]) == [shown]
