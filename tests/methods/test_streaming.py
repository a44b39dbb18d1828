"""Streaming: what stands in for others is made of the target's photos, and nothing else is looked at."""

import numpy as np
import pytest
import torch
from PIL import Image
from runs import forget

from unsee.data import open_image
from unsee.errors import InputError
from unsee.methods import Streaming
from unsee.methods.streaming import standins
from unsee.models.checkpoint import Vlm
from unsee.moments.measure import measure
from unsee.records import Sample
from unsee.system.memory import plan
from unsee.testing import images

TARGET = [Sample(image, "target") for image in images(6, seed=1)]
QUICK = Streaming(steps=2, batch=4, views=0, composites=0, standins=1)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(open_image(image)).reshape(-1, 3)


def test_standins_keep_colours_and_lose_their_places() -> None:
    made = standins(TARGET, 2, 0)
    assert len(made) == 24
    assert {sample.concept for sample in made} == {"dealt", "blurred"}
    for number, sample in enumerate(TARGET):
        original, own = pixels(sample.image), made[4 * number : 4 * number + 4]
        for other in own:
            assert pixels(other.image).shape == original.shape
            assert not np.array_equal(pixels(other.image), original)
        dealt = pixels(own[0].image)
        assert np.array_equal(np.sort(dealt, axis=0), np.sort(original, axis=0))
        assert pixels(own[1].image).std() < original.std()
    again = standins(TARGET, 2, 0)
    assert all(np.array_equal(pixels(a.image), pixels(b.image)) for a, b in zip(made, again, strict=True))


def test_retained_images_and_moments_change_nothing(vlm: Vlm) -> None:
    others = [Sample(image, f"other {number % 4}") for number, image in enumerate(images(24, seed=2))]
    moments, photos = measure(vlm, others, QUICK.moment_settings(0), plan("normal", 1))
    edits = [
        forget(vlm, TARGET, method=QUICK),
        QUICK.forget(vlm, TARGET, photos, moments=moments),
        forget(vlm, TARGET, others, method=QUICK),
    ]
    for other in edits[1:]:
        assert all(torch.equal(value, other.weights[name]) for name, value in edits[0].weights.items())


@pytest.mark.parametrize("field", ["reach", "ridge", "distill", "standins", "steps"])
def test_settings_out_of_range_are_refused(field: str) -> None:
    with pytest.raises(InputError, match=f"{field} is -1; expected a (whole )?number"):
        Streaming(**{field: -1})
