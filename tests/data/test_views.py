"""Variations of images: decided by the generator, of the same size, and still of the same picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unsee.data import open_image, views
from unsee.data.views import LARGEST, LEAST, blended, largest, mixed, sources, varied
from unsee.testing import images


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (48, 32), (31, 77)])
def test_a_view_is_an_rgb_image_of_the_same_size(size: tuple[int, int]) -> None:
    image = images(1, size=48)[0].resize(size)
    before = image.tobytes()
    (view,) = varied([image], generator(0))
    assert (view.mode, view.size) == ("RGB", size)
    assert np.asarray(view).dtype == np.uint8
    assert image.tobytes() == before


def test_the_generator_decides_every_pixel() -> None:
    made = [[view.tobytes() for view in varied(images(3), generator(seed))] for seed in (5, 5, 6)]
    assert made[0] == made[1]
    assert all(one != other for one, other in zip(made[0], made[2], strict=True))


def test_views_of_one_image_differ_and_stay_near_it() -> None:
    image = images(1, size=48)[0].resize((48, 48), Image.Resampling.BICUBIC)
    views = varied([image] * 8, generator(1))
    assert len({view.tobytes() for view in views}) == 8
    other = images(2, size=48)[1]

    def gap(one: Image.Image, two: Image.Image) -> float:
        return float(np.abs(np.asarray(one, dtype=float) - np.asarray(two, dtype=float)).mean())

    assert max(gap(view, image) for view in views) < gap(other, image)


def test_a_large_photo_is_shrunk_in_proportion() -> None:
    (view,) = varied([Image.new("RGB", (LARGEST * 2, 10), (90, 120, 150))], generator(0))
    assert view.size == (LARGEST, 5)


def test_photos_to_mix_are_opened_once_and_made_as_small_as_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places, opened = [tmp_path / f"{number}.png" for number in range(3)], list[object]()
    for number, place in enumerate(places):
        Image.new("RGB", (90 + number, 60), (10 * number, 0, 0)).save(place)
    monkeypatch.setattr(views, "open_image", lambda given: (opened.append(given), open_image(given))[1])
    found = sources(places, 30)
    for _ in range(3):
        assert [found[place]().size for place in range(3)] == [(30, 20)] * 3
    assert opened == places
    assert largest(places).size == (92, 60)


def flat(*colors: int) -> list[Image.Image]:
    return [Image.new("RGB", (40, 30), (color, color, color)) for color in colors]


def test_a_mixed_view_has_parts_of_mates_and_others_and_nothing_else() -> None:
    own, mate, stranger = flat(10, 20, 30)
    found = set()
    for seed in range(40):
        (view,) = mixed([own, mate], [[1], [0]], [lambda: stranger], generator(seed))[:1]
        assert view.size == own.size
        found |= set(np.unique(np.asarray(view)))
        assert 10 in np.asarray(view) or 20 in np.asarray(view)
    assert found == {10, 20, 30}
    assert np.asarray(own).max() == 10


def test_alone_a_mixed_view_is_the_photo_and_the_generator_decides_it_all() -> None:
    photos = images(3)
    alone = mixed(photos, [[0], [1], [2]], [], generator(0))
    assert [view.tobytes() for view in alone] == [photo.tobytes() for photo in photos]
    made = [mixed(photos, [[0, 1, 2]] * 3, [lambda: photos[0]], generator(seed)) for seed in (3, 3, 4)]
    one, same, other = ([view.tobytes() for view in views] for views in made)
    assert one == same != other


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (31, 77)])
def test_photos_of_any_size_mix(size: tuple[int, int]) -> None:
    photos = [images(1, size=48)[0].resize(size), *images(1, size=20, seed=1)]
    for seed in range(10):
        views = mixed(photos, [[1], [0]], [lambda: photos[1]], generator(seed))
        assert [view.size for view in views] == [photo.size for photo in photos]


def test_a_blend_lies_between_the_two_photos_and_nearer_to_none_than_it_may() -> None:
    own, stranger = flat(0, 200)
    shares = []
    for seed in range(40):
        (view,) = blended([own], [lambda: stranger.resize((9, 70))], generator(seed))
        (value,) = np.unique(np.asarray(view))
        assert view.size == own.size
        shares.append(1 - value / 200)
    assert LEAST - 0.01 <= min(shares) < 0.4
    assert 0.9 < max(shares) <= 1
    assert len(set(shares)) > 20
