"""What is made of photos one by one, by other processes where there are enough photos and cores for that."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from PIL import Image

from unsee.data.images import pixels
from unsee.errors import InputError
from unsee.records import Sample
from unsee.system.processes import told

Picture = TypeVar("Picture", bound=Sample | Path | Image.Image)
Made = TypeVar("Made")
A_PHOTO, A_PIXEL = 3e-3, 2e-8  # seconds that it takes to open a photo, on one core of 2023
WORTH = 2.0  # seconds of work from which on other processes do it: to begin them takes some tenths
MOST, AT_ONCE = 8, 4  # other processes; photos that one of them makes before it gives them back


@dataclass(frozen=True)
class _Making(Generic[Picture, Made]):
    """What a loader of torch takes. An error is given back: the loader would wrap it in a traceback of its own."""

    pictures: Sequence[Picture]
    make: Callable[[Picture], Made]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, place: int) -> Made | InputError:
        try:
            return self.make(self.pictures[place])
        except InputError as error:
            return error


def each_made(pictures: Sequence[Picture], make: Callable[[Picture], Made], *, busy: bool = False) -> Iterator[Made]:
    """What `make` gives of each picture, in their order; `busy` where this process has work of its own meanwhile.

    What is made should hold no tensor, but arrays: tensors pass between processes in shared memory, of which a
    container has little. Raises InputError at the first picture of which `make` does.
    """
    workers = _workers(pictures, busy=busy)
    if not workers:
        yield from map(make, pictures)
        return
    from torch.utils.data import DataLoader

    loader: DataLoader[Made | InputError] = DataLoader(
        _Making(pictures, make),  # type: ignore[arg-type] # a loader takes whatever has these two methods
        batch_size=AT_ONCE,
        num_workers=workers,
        collate_fn=list,
    )
    try:
        for batch in loader:
            for made in batch:
                if isinstance(made, InputError):
                    raise made
                yield made
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise InputError(
            "a process that opened photos was killed, for lack of memory perhaps; free some, or give fewer photos."
        ) from error


def _workers(pictures: Sequence[Picture], *, busy: bool) -> int:
    """How many other processes are worth it; 0 where this one is better alone."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    spare = cores // told("LOCAL_WORLD_SIZE", 1) - busy
    if spare < 2 - busy or not pictures:
        return 0
    picture = pictures[0].image if isinstance(pictures[0], Sample) else pictures[0]
    size = 0
    if isinstance(picture, Path | Image.Image):
        with suppress(InputError):  # whoever opens it says so
            size = pixels(picture)
    return min(MOST, spare) if len(pictures) * (A_PHOTO + A_PIXEL * size) > WORTH else 0
