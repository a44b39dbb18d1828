"""The closed form: nearer to the region in a few sweeps, less of it where more is to be kept."""

import pytest
import torch
from runs import forget

from unsee.errors import InputError
from unsee.methods import ClosedForm
from unsee.models.checkpoint import Vlm
from unsee.moments.measure import measure, prepare
from unsee.records import Sample
from unsee.system.memory import plan
from unsee.testing import images

TARGET = [Sample(image, "target") for image in images(6, seed=1)]
RETAINED = [Sample(image, f"other {number % 4}") for number, image in enumerate(images(24, seed=2))]


def test_every_sweep_comes_nearer_and_keeping_keeps(vlm: Vlm) -> None:
    edits = [forget(vlm, TARGET, RETAINED, method=ClosedForm(sweeps=4, views=0, keep=keep)) for keep in (0.1, 1e4)]
    for edit in edits:
        ways = [look["target"] for look in edit.method["looks"]]
        assert all(later < earlier for earlier, later in zip([1.0, *ways], ways, strict=False))
        assert edit.facts()["trained_weights"] == len(edit.layers)
    free, kept = (max(layer.retained for layer in edit.layers) for edit in edits)
    assert kept < free


def test_it_stops_at_the_bound(vlm: Vlm) -> None:
    edit = forget(vlm, TARGET, RETAINED, method=ClosedForm(views=0, stop_target=0.99))
    assert edit.method["steps_made"] == 1
    assert "the bound was reached" in edit.stopped


def test_retained_images_only_make_the_moments(vlm: Vlm) -> None:
    method = ClosedForm(sweeps=1, views=0)
    moments, photos = measure(vlm, RETAINED, method.moment_settings(0), plan("normal", 1))
    edits = [
        forget(vlm, TARGET, RETAINED, method=method),
        forget(vlm, TARGET, method=method, moments=moments),
        method.forget(vlm, TARGET, photos, moments=moments),
    ]
    for other in edits[1:]:
        assert all(torch.equal(value, other.weights[name]) for name, value in edits[0].weights.items())
    with pytest.raises(InputError, match="neither retained images nor moments"):
        forget(vlm, TARGET, method=method)
    with pytest.raises(InputError, match="neither retained images nor moments"):
        method.forget(vlm, TARGET, prepare(vlm, RETAINED, 8))


@pytest.mark.parametrize("field", ["ridge", "reach", "sweeps", "directions", "keep", "stop_target"])
def test_settings_out_of_range_are_refused(field: str) -> None:
    with pytest.raises(InputError, match=f"{field} is -1; expected a (whole )?number"):
        ClosedForm(**{field: -1})
