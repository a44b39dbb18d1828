"""Several processes that share one piece of work, as accelerate, torchrun or `system/launching.py` begin them."""

import gc
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from unsee.errors import InputError
from unsee.system.launching import SPREAD

T = TypeVar("T")
TOGETHER = 1 << 22  # numbers of tensors that are added up at once


def spread() -> bool:
    """Whether weights are spread over the processes, so that each makes everything (`models/spreading.py`)."""
    return dist.is_initialized() and os.environ.get(SPREAD, "").lower() in ("1", "true")


def count() -> int:
    """How many share the work: 1 where there is this one alone, or each makes everything."""
    return dist.get_world_size() if dist.is_initialized() and not spread() else 1


def rank() -> int:
    """Which of them this one is, from 0 on."""
    return dist.get_rank() if dist.is_initialized() else 0


def first() -> bool:
    """Whether this is the one that writes and speaks."""
    return rank() == 0


def part() -> int:
    """Which share of the work is this process's, from 0 on."""
    return rank() % count()


def own(items: Sequence[T]) -> Sequence[T]:
    """This process's share of the items: every so many."""
    return items[part() :: count()]


def mine(number: int) -> bool:
    """Whether the part of this number is this process's."""
    return number % count() == part()


def gathered(share: list[T]) -> list[T]:
    """All items in their order, of every process's `own` share."""
    if count() == 1:
        return share
    shares: list[list[T]] = [[]] * count()
    dist.all_gather_object(shares, share)
    return [shares[place % count()][place // count()] for place in range(sum(map(len, shares)))]


def merged(share: Mapping[str, T]) -> dict[str, T]:
    """The first process's dict is that of all together; the others' is empty."""
    if count() == 1:
        return dict(share)
    shares: list[Mapping[str, T]] | None = [{}] * count() if first() else None
    dist.gather_object(share, shares)
    return {name: value for part in shares or () for name, value in part.items()}


def summed(tensors: Iterable[Tensor]) -> None:
    """Adds up tensors of one dtype and device over all processes, in place; small ones go together."""
    if count() == 1:
        return
    for group in _together(tensors):
        if len(group) == 1:
            dist.all_reduce(group[0])
            continue
        flat = torch.cat([tensor.reshape(-1) for tensor in group])
        dist.all_reduce(flat)
        for tensor, part in zip(group, flat.split([tensor.numel() for tensor in group]), strict=True):
            tensor.copy_(part.view_as(tensor))


def dealt(tensors: Sequence[Tensor]) -> None:
    """Gives every process each tensor as that process has it which its place is `mine` to, in place."""
    if count() == 1:
        return
    for place, tensor in enumerate(tensors):
        if not mine(place):
            tensor.zero_()
    summed(tensors)


def _together(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in groups of at most TOGETHER numbers, or of one."""
    group, size = list[Tensor](), 0
    for tensor in tensors:
        if group and size + tensor.numel() > TOGETHER:
            yield group
            group, size = [], 0
        group.append(tensor)
        size += tensor.numel()
    if group:
        yield group


def anyone(says: bool) -> bool:
    """Whether any process says so."""
    if not dist.is_initialized():
        return says
    said = torch.tensor(int(says))
    dist.all_reduce(said, dist.ReduceOp.MAX)
    return bool(said)


def same(value: T) -> T:
    """The first process's value, for all."""
    if not dist.is_initialized():
        return value
    held = [value]
    dist.broadcast_object_list(held)
    return held[0]


def told(name: str, otherwise: int) -> int:
    """A number that a launcher left in the environment. Raises InputError for what is none, and for sizes of 0."""
    value = os.environ.get(name, str(otherwise))
    if not value.isdecimal() or (name.endswith("SIZE") and not int(value)):
        raise InputError(f"{name} is {value!r} in the environment; expected a number, as torchrun sets it.")
    return int(value)


@contextmanager
def together() -> Iterator[None]:
    """While open, the processes that a launcher began know each other; alone, nothing happens.

    Raises InputError where they do not find each other.
    """
    if told("WORLD_SIZE", 1) == 1:
        yield
        return
    here, gpus = told("LOCAL_WORLD_SIZE", 1), torch.cuda.device_count()
    if gpus:
        torch.cuda.set_device(told("LOCAL_RANK", 0) % gpus)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if here <= gpus else "gloo")  # nccl wants a GPU for each
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"WORLD_SIZE says that several processes share the work, and they do not find each other ({error}); start "
            "them by torchrun, or take WORLD_SIZE out of the environment."
        ) from error
    try:
        yield
    finally:
        gc.collect()  # spread weights hold the group, whose threads must end before the interpreter does
        dist.destroy_process_group()
