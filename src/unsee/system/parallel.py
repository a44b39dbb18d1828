"""Work on several things at once, in processes that share the cores."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import TypeVar

import torch

Item = TypeVar("Item")
Made = TypeVar("Made")


def each(work: Callable[[Item], Made], items: Sequence[Item], jobs: int) -> Iterator[Made]:
    """What `work` makes of every item, as soon as it is made; `jobs` items at once.

    With one job all is done here, in order. With more, `work` and the items go to fresh processes, each with its share
    of the cores; `work` must be importable there.
    """
    if jobs == 1:
        yield from map(work, items)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        for future in as_completed([pool.submit(work, item) for item in items]):
            yield future.result()
