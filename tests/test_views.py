"""Variations of images: decided by the generator, of the same size, and still of the same picture."""

import numpy as np
import pytest
import torch
from PIL import Image

from unsee.testing import images
from unsee.views import LARGEST, varied


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
