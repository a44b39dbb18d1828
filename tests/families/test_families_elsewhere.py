"""Families of several kinds compute on another device than the CPU, and come to the same."""

from pathlib import Path

import pytest
import zoo

import unsee
from second_device import SAME, second_device, worst
from unsee.methods import NSCVF
from unsee.records import Sample

SIZES = ((60, 60), (90, 45), (45, 90))


@pytest.mark.parametrize("name", ["llava_next", "qwen2_5_vl", "qwen3_vl", "mllama"])
def test_a_request_does(name: str, tmp_path: Path) -> None:
    folder = zoo.saved(name, tmp_path / name)
    photos = [
        [Sample(zoo.picture(10 * concept + n, *size), f"person {concept}") for n, size in enumerate(SIZES)]
        for concept in range(4)
    ]
    others = [sample for concept in photos[1:] for sample in concept]
    method = NSCVF(steps=2, batch=2, views=1, composites=2, share=1.0, most_drift=10.0)
    here = unsee.forget(folder, photos[0], others, method=method, ask="never", device="cpu")
    with second_device() as device:
        there = unsee.forget(folder, photos[0], others, method=method, ask="never", device=device)
        assert worst(here.weights, there.weights) < SAME
