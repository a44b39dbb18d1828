"""Several processes that share one piece of work, as accelerate, torchrun or `system/launching.py` begin them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

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
