"""A second device made of the CPU: what forgets to move a tensor fails on it as it would on a GPU.

A tensor there holds its values in a tensor of the CPU. Operations between tensors of both devices raise, but for copies
and for indices and scalars, which a GPU takes from the CPU too. It needs the hooks of torch for backends written in
Python, and must be set up before the first backward pass of the process, which counts the devices.

`UNSEE_TEST_DEVICE=cuda pytest tests/device tests/families` takes a real one in its place.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from unsee.system.device import computing

REAL = os.environ.get("UNSEE_TEST_DEVICE")
NAME = REAL or "away"
if not REAL:
    _setup_privateuseone_for_python_backend(NAME)
COPIES = ("aten::_to_copy", "aten::copy_", "aten::_copy_from")
# Of the largest number of a tensor, what the order of sums makes of float32; on a GPU an attacker who is simulated
# (resist) makes it 1.6 %, others up to .6 %.
SAME = 2e-2 if REAL else 1e-4
NUMBERS = ("aten::_local_scalar_dense", "aten::equal", "aten::is_same_size")  # what comes out is no tensor


class Away(Tensor):
    """A tensor of the second device; `values` is the one of the CPU."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> "Away":
        made: Away = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=torch.device(NAME, 0),
        )
        made.values = values
        return made

    def __init__(self, values: Tensor) -> None:
        pass

    def tolist(self) -> Any:
        return self.values.tolist()

    def __format__(self, spec: str) -> str:
        return format(self.values, spec)

    def __repr__(self) -> str:  # type: ignore[override] # torch's takes more
        return f"{NAME}({self.values!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def _here(value: Any) -> Any:
    if isinstance(value, Away):
        return value.values
    if isinstance(value, torch.device) and value.type == NAME:
        return torch.device("cpu")
    return value


def _computed(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    name = func._schema.name
    tensors = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    away = any(isinstance(value, Away) for value in tensors)
    if away and name not in COPIES and not name.startswith("aten::index"):
        strangers = [value for value in tensors if not isinstance(value, Away) and value.dim() > 0]
        if strangers:
            raise RuntimeError(f"{name}: expected all tensors on {NAME}, found one on {strangers[0].device}")
    wanted = kwargs.get("device")
    there = away if wanted is None else torch.device(wanted).type == NAME
    if name == "aten::copy_":
        there = isinstance(args[0], Away)
    made = func(*tree_map(_here, args), **tree_map(_here, kwargs))
    if name in NUMBERS or not there:
        return made
    made = tree_map(lambda part: Away(part) if isinstance(part, Tensor) and not isinstance(part, Away) else part, made)
    return return_and_correct_aliasing(func, args, kwargs, made) if away else made


class _Made(TorchFunctionMode):
    """torch.tensor makes its tensor below what the other hooks see."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func is torch.tensor and given.get("device") is not None and torch.device(given["device"]).type == NAME:
            device = given.pop("device")
            return func(*args, **given).to(device)
        return func(*args, **given)


class _Watch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


@contextmanager
def second_device() -> Iterator[str]:
    """While open, the device exists; gives its name. Models that are moved get new parameters.

    A real one computes in float32, so that results can be compared.
    """
    if REAL:
        with computing(precision="float32"):
            yield REAL
        return
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with _Made(), _Watch():
            yield NAME
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swaps)


def worst(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest difference of two sets of weights, by the largest number of each."""
    assert one.keys() == other.keys()
    return max(float((one[n].double() - other[n].double()).abs().max() / one[n].double().abs().max()) for n in one)
