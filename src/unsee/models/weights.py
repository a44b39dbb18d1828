"""Weights that are given other values, for good or for a while."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from unsee.models.features import HALVES
from unsee.models.spreading import parted, whole


@torch.no_grad()
def assign(weights: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Gives weights, by name, values of their shape, in any dtype and on any device; others stay as they are."""
    for name, value in values.items():
        weights[name].copy_(parted(whole(value), weights[name]))


@contextmanager
def restored(weights: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """While open, weights may be changed; gives copies of their values, which they have again at the end."""
    start = {name: weight.detach().clone() for name, weight in weights.items()}
    try:
        yield start
    finally:
        assign(weights, start)


@contextmanager
def frozen_after(weights: Mapping[str, Parameter]) -> Iterator[None]:
    """While open, weights may ask for gradients; at the end none does, and none is held."""
    try:
        yield
    finally:
        for weight in weights.values():
            weight.requires_grad_(False)
            weight.grad = None


@contextmanager
def in_float32(model: Module) -> Iterator[None]:
    """While open, what a model holds in half precision is float32, in which small steps do not round away."""
    halves = [(tensor, tensor.dtype) for tensor in chain(model.parameters(), model.buffers()) if tensor.dtype in HALVES]
    try:
        for tensor, _ in halves:
            tensor.data = tensor.data.float()
        yield
    finally:
        for tensor, dtype in halves:
            tensor.data = tensor.data.to(dtype)
