"""Work on several things at once, in processes that share the cores."""

import os
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import Synchronized
from typing import TypeVar

import torch

from unsee.errors import InputError
from unsee.system.device import Computing, asked, compute
from unsee.system.signals import GRACE, follow_parent

Item = TypeVar("Item")
Made = TypeVar("Made")


def each(work: Callable[[Item], Made], items: Sequence[Item], jobs: int) -> Generator[Made]:
    """What `work` makes of every item, as soon as it is made; `jobs` items at once.

    With one job all is done here, in order. With more, `work` and the items go to fresh processes, each with its share
    of the cores and a GPU of its own where there are so many; `work` must be importable there. The processes end when
    this one does: at once if it is interrupted or `work` raises, after at most GRACE seconds for tidying up.
    """
    if jobs == 1:
        yield from map(work, items)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    others = set(active_children())
    fresh = get_context("spawn")
    pool = ProcessPoolExecutor(jobs, fresh, _begin, (threads, asked(), fresh.Value("i", 0)))
    try:
        with _undisturbed():
            futures = [pool.submit(work, item) for item in items]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise InputError(
            "a process that did part of the work was killed, for lack of memory perhaps; give fewer --jobs."
        ) from error
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        _end([child for child in active_children() if child not in others])
        raise
    pool.shutdown()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """While open, processes are begun to which Ctrl-C does not get through: it is this one that ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(threads: int, wanted: Computing, begun: "Synchronized[int]") -> None:
    follow_parent()
    torch.set_num_threads(threads)
    with begun.get_lock():
        os.environ["LOCAL_RANK"] = str(begun.value)  # as launchers set it: each takes a GPU of its own by it
        begun.value += 1
    compute(wanted.device, wanted.precision)


def _end(workers: Sequence[BaseProcess]) -> None:
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(GRACE)
        if worker.is_alive():
            worker.kill()
            worker.join()
