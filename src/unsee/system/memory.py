"""How much is held at once: everything for small models, less for large ones, least when asked for."""

import ctypes
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from unsee.errors import unknown

Made = TypeVar("Made")
LOG = logging.getLogger("unsee")
LARGE = 50_000_000  # visual numbers from which on activations and moments no longer fit beside the weights


@dataclass(frozen=True)
class Memory:
    """Bounds on what a run holds; the result does not depend on `images`, `grams` and `frugal`."""

    images: int
    """Images that go through the model at a time."""
    grams: int
    """Numbers in the Gram matrices that one pass over the retained images sums up, 8 bytes each."""
    weights: int
    """Numbers that are trained at a time: layers take turns where there are more."""
    frugal: bool
    """Activations are computed again in the backward pass, and moments wait on the disk."""


UNBOUNDED = 1 << 62
M_MMAP_THRESHOLD = -3  # of malloc.h
MODES = ("normal", "low")


def plan(mode: str, visual: int) -> Memory:
    """The bounds for a model with so many visual numbers. Raises InputError for an unknown mode."""
    if mode not in MODES:
        raise unknown("memory mode", mode, MODES)
    if mode == "low":
        return Memory(images=1, grams=60_000_000, weights=30_000_000, frugal=True)
    if visual >= LARGE:
        return Memory(images=2, grams=UNBOUNDED, weights=UNBOUNDED, frugal=True)
    return Memory(images=128, grams=UNBOUNDED, weights=UNBOUNDED, frugal=False)


def is_full(error: RuntimeError) -> bool:
    """Whether an error of torch's says that there is no memory left, on whatever device."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def in_room(work: Callable[[int], Made], size: int) -> Made:
    """What `work` makes of batches of so many; of half as many, and so on, where memory does not suffice.

    That is logged once each time. Raises the error where one at a time is too much.
    """
    while True:
        try:
            return work(size)
        except RuntimeError as error:
            if size == 1 or not is_full(error):
                raise
        size = halved(size)


def halved(size: int) -> int:
    """Half of a batch, rounded up; frees what is kept for later, and logs it."""
    less = (size + 1) // 2
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    LOG.warning("memory is full; going on with batches of %d in the place of %d", less, size)
    return less


def available() -> int:
    """Bytes of memory that a process may still take; a guess of 4 GiB where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError, AttributeError):
        return 4 << 30


def give_back() -> None:
    """Makes glibc give freed blocks of 1 MB and more back to the system at once; does nothing with other libraries.

    By default glibc keeps freed blocks of up to 32 MB for later. Blocks between tensors that are still in use are then
    lost: a quarter of all memory on a model with 0.3 B visual weights.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, 1 << 20)
