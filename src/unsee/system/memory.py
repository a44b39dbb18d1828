"""How much is held at once: everything for small models, less for large ones, least when asked for."""

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from unsee.errors import check_kind, unknown

LARGE_VISUAL = 50_000_000  # visual numbers from which on activations and moments no longer fit beside the weights


@dataclass(frozen=True)
class Memory:
    """Bounds on what a run holds; the result does not depend on `images`, `grams`, `frugal` and `states`.

    On those of `photos` and `variations` it does, where there are more.
    """

    images: int
    """Images that go through the model at a time."""
    grams: int
    """Numbers in the Gram matrices that one pass over the retained images sums up, 8 bytes each."""
    weights: int
    """Numbers that are trained at a time: layers take turns where there are more."""
    frugal: bool
    """Activations are computed again in the backward pass, and moments wait on the disk."""
    photos: int = 4 << 30
    """Bytes of retained photos, ready for the model and with their features, that are held; the others only count in
    the Grams."""
    variations: int = 1 << 30
    """Bytes of the features of a request's variations; where all need more they are held in half precision, and there
    are fewer."""
    states: int = 1 << 29
    """Bytes of what enters the first trained block, of all photos that are held; where that is more, what comes before
    it runs in every step."""


UNBOUNDED = 1 << 62
M_MMAP_THRESHOLD = -3  # of malloc.h
MODES = ("normal", "low")


def plan(mode: str, visual: int, *, on_gpu: bool = False) -> Memory:
    """The bounds for a model with so many visual numbers. Raises InputError for an unknown mode.

    A GPU has memory of its own for activations, and idles with few images at a time.
    """
    check_kind("memory", mode, str, " or ".join(MODES))
    if mode not in MODES:
        raise unknown("memory mode", mode, MODES)
    if mode == "low":
        return Memory(images=1, grams=60_000_000, weights=30_000_000, frugal=True, photos=1 << 30, states=0)
    if visual >= LARGE_VISUAL:
        if on_gpu:
            most = {"states": 4 << 30, "variations": 4 << 30}
            return Memory(images=8, grams=UNBOUNDED, weights=UNBOUNDED, frugal=True, **most)
        return Memory(images=2, grams=UNBOUNDED, weights=UNBOUNDED, frugal=True, states=0)
    return Memory(images=128, grams=UNBOUNDED, weights=UNBOUNDED, frugal=False)


def available() -> int:
    """Bytes of memory that a process may still take; a guess of 4 GiB where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError, AttributeError):
        return 4 << 30


NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "Cannot allocate memory",
    "failed to map segment",
    "could not create a primitive",
    "can't start new thread",
)


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left: Python's own, torch's, or the system's."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError | OSError | ImportError) and any(text in str(error) for text in NO_MEMORY)


def give_back() -> None:
    """Makes glibc give freed blocks of 1 MB and more back to the system at once; does nothing with other libraries.

    By default glibc keeps freed blocks of up to 32 MB for later. Blocks between tensors that are still in use are then
    lost: a quarter of all memory on a model with 0.3 B visual weights.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(M_MMAP_THRESHOLD, 1 << 20)
