"""Where memory is full, batches are made smaller, said once, and nothing else changes."""

import logging
from pathlib import Path

import pytest
import torch

import unsee as package
from tiny_method import METHOD
from unsee.models import features
from unsee.system.device import in_room
from unsee.system.memory import lacks_memory


def full() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def test_batches_are_halved_until_they_fit(caplog: pytest.LogCaptureFixture) -> None:
    tried = list[int]()

    def work(size: int) -> int:
        tried.append(size)
        if size > 5:
            raise full()
        return size

    with caplog.at_level(logging.WARNING, "unsee"):
        assert in_room(work, 40) == 5
    assert tried == [40, 20, 10, 5]
    assert len(caplog.messages) == 3


def test_other_errors_and_a_single_image_are_raised() -> None:
    def broken(_: int) -> int:
        raise RuntimeError("shapes do not fit")

    def never(_: int) -> int:
        raise full()

    with pytest.raises(RuntimeError, match="shapes"):
        in_room(broken, 8)
    with pytest.raises(torch.OutOfMemoryError):
        in_room(never, 8)
    assert lacks_memory(
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")
    )


def test_a_request_goes_on_in_smaller_batches_to_the_same_edit(
    checkpoint: Path, target: Path, retained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever more than two images go through the model at once, memory is full."""
    before = package.forget(checkpoint, target, retained, method=METHOD, ask="never", device="cpu")
    collated, most = features.collated, list[int]()

    def narrow(images: list[features.Inputs]) -> features.Inputs:
        if len(images) > 2:
            raise full()
        most.append(len(images))
        return collated(images)

    monkeypatch.setattr(features, "collated", narrow)
    after = package.forget(checkpoint, target, retained, method=METHOD, ask="never", device="cpu")
    assert max(most) == 2
    for name, value in before.weights.items():
        assert torch.allclose(value.float(), after.weights[name].float(), atol=1e-4)
