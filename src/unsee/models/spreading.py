"""Weights that lie spread over several processes, for models that do not fit into one device.

Each process then makes everything, from weights that it borrows from the others block by block. Source: FSDP (Zhao et
al. 2023, arXiv 2304.11277), the second one of torch.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from unsee.errors import InputError
from unsee.system.processes import spread


def spread_out(model: PreTrainedModel, device: torch.device) -> None:
    """Leaves each process its part of every block's weights, on the device; what is in no block stays whole.

    Raises InputError for a model without blocks that are known as such.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    blocks = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer) and _alike(module)]
    if not blocks:
        raise InputError(
            f"{type(model).__name__} has no blocks of transformers that could be spread over processes; leave fsdp2 "
            "out, so that each process holds all."
        )
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for block in reversed(blocks):  # inner ones first
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
        block.register_forward_pre_hook(_asking, prepend=True, with_kwargs=True)


def _alike(block: nn.Module) -> bool:
    """Whether all weights of a block have values, and are floats of one dtype, as fully_shard wants it."""
    weights = list(block.parameters())
    return bool(weights) and all(
        not weight.is_meta and weight.is_floating_point() and weight.dtype == weights[0].dtype for weight in weights
    )


def _asking(block: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Lets a trained block take what needs gradient: else fully_shard drops the gradients of its weights."""
    if not torch.is_grad_enabled() or not any(weight.requires_grad for weight in block.parameters()):
        return args, kwargs
    given: dict[Any, Any] = {**dict(enumerate(args)), **kwargs}
    floats = [name for name, value in given.items() if isinstance(value, Tensor) and value.is_floating_point()]
    if floats and not given[floats[0]].requires_grad:  # the first is what the block before gives
        given[floats[0]] = given[floats[0]].detach().requires_grad_()
    return tuple(given.pop(place) for place in range(len(args))), given


def whole(value: Tensor) -> Tensor:
    """A tensor that may be spread, put together; then all processes must ask for it. With gradient if it has one."""
    if not spread():
        return value
    from torch.distributed.tensor import DTensor

    return value.full_tensor() if isinstance(value, DTensor) else value


def beside_spread() -> AbstractContextManager[None]:
    """While open, tensors that every process has may be multiplied with spread ones."""
    if not spread():
        return nullcontext()
    from torch.distributed.tensor.experimental import implicit_replication

    return implicit_replication()


def parted(value: Tensor, like: Tensor) -> Tensor:
    """A whole tensor, spread as another one is."""
    if not spread():
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(like, DTensor) or isinstance(value, DTensor):
        return value
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
