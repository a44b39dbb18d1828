"""Several processes that share one piece of work, as accelerate, torchrun or `--num-processes` begin them."""

import logging
import os
import sys
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from unsee.errors import InputError

T = TypeVar("T")


def count() -> int:
    """How many share the work: 1 where there is this one alone."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0 on."""
    return dist.get_rank() if dist.is_initialized() else 0


def first() -> bool:
    """Whether this is the one that writes and speaks."""
    return rank() == 0


def own(items: Sequence[T]) -> Sequence[T]:
    """This process's share of the items: every so many."""
    return items[rank() :: count()]


def mine(number: int) -> bool:
    """Whether the part of this number is this process's."""
    return number % count() == rank()


def whole(share: list[T]) -> list[T]:
    """All items in their order, of every process's `own` share."""
    if count() == 1:
        return share
    shares: list[list[T]] = [[]] * count()
    dist.all_gather_object(shares, share)
    return [shares[place % count()][place // count()] for place in range(sum(map(len, shares)))]


def summed(tensors: Iterable[Tensor]) -> None:
    """Adds up tensors over all processes, in place."""
    if count() > 1:
        for tensor in tensors:
            dist.all_reduce(tensor)


def same(value: T) -> T:
    """The first process's value, for all."""
    if count() == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held)
    return held[0]


@contextmanager
def together() -> Iterator[None]:
    """While open, the processes that a launcher began know each other; alone, nothing happens."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if gpus:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % gpus)
    dist.init_process_group("cpu:gloo,cuda:nccl" if here <= gpus else "gloo")  # nccl wants a GPU for each
    try:
        yield
    finally:
        dist.destroy_process_group()


def launched(arguments: Sequence[str], processes: int) -> int:
    """Runs `unsee` with these arguments in so many processes on this machine, and gives its exit code.

    Raises InputError where one of them is killed; the others are ended then.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # what ended a process is said below
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "unsee", *arguments)
    except ChildFailedError as error:
        number, failure = min(error.failures.items(), key=lambda one: one[1].timestamp)
        if failure.exitcode < 0:
            raise InputError(
                f"process {number} of {processes} was ended by signal {-failure.exitcode}, perhaps for lack of memory; "
                "the others were ended, and nothing was written. Give fewer processes."
            ) from error
        return int(failure.exitcode)
    return 0
