"""What runs before the first trained layer, run once an image and not in every step; and what features do not need."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from unsee.models.features import Inputs, in_batches, visual_features

STATE_BYTES = 1 << 29  # of what is kept for all images; beyond it everything runs in every step
CLOSE = 1e-4  # relative difference of features that rounding may make


class _ReachedError(Exception):
    """The block was reached; nothing after it is needed."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """The blocks of an encoder that come before a trained one; while their result is `given`, they do nothing.

    Nor do the `idle` ones, which run after the last block that features are taken from, as in LLaVA.
    """

    before: tuple[nn.Module, ...]
    """The siblings of `block` that run before it, each on what the one before gives it."""
    block: nn.Module
    idle: tuple[nn.Module, ...] = ()

    @torch.no_grad()
    def states(self, model: PreTrainedModel, images: Sequence[Inputs], batch: int) -> Tensor | None:
        """What enters the block (image, token, width), float; None where images do not come one by one, or too much."""
        found: list[Any] = []

        def keep(_: nn.Module, args: Any, kwargs: Any) -> None:
            found.append(args[0] if args else kwargs.get("hidden_states"))
            raise _ReachedError

        handle = self.block.register_forward_pre_hook(keep, with_kwargs=True)
        try:
            for part in in_batches(images, batch):
                try:
                    visual_features(model, part)
                except _ReachedError:
                    last = found[-1]
                    if not isinstance(last, Tensor) or last.dim() != 3 or len(last) != len(part):
                        return None
                    if last.shape[1:] != found[0].shape[1:]:
                        return None
                if not found or found[0][0].nbytes * len(images) > STATE_BYTES:
                    return None
        finally:
            handle.remove()
        return torch.cat(found)

    @contextmanager
    def given(self, states: Tensor) -> Iterator[None]:
        """While open, these states (image, token, width) enter the block in the place of what comes before it.

        They may be on another device than the model.
        """

        def replace(_: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
            here = states.to((args[0] if args else kwargs["hidden_states"]).device)
            return ((here, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": here})

        handle = self.block.register_forward_pre_hook(replace, with_kwargs=True)
        try:
            for module in (*self.before, *self.idle):
                vars(module)["forward"] = _pass_on
            yield
        finally:
            for module in (*self.before, *self.idle):
                vars(module).pop("forward", None)
            handle.remove()


def _pass_on(hidden_states: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
    return hidden_states


def prefix(model: PreTrainedModel, first: str) -> Prefix | None:
    """The blocks before the one with this layer, in the innermost list of blocks; None if there are none."""
    blocks, place = _place(model, first)
    return Prefix(blocks[:place], blocks[place]) if place else None


def _place(model: PreTrainedModel, first: str) -> tuple[tuple[nn.Module, ...], int]:
    """The innermost list of blocks in which this layer is, and the place of its block; none and 0 outside of any."""
    modules, parts = dict(model.named_modules()), first.split(".")
    for end in range(len(parts) - 1, 0, -1):
        blocks = modules.get(".".join(parts[:end]))
        if isinstance(blocks, nn.ModuleList) and parts[end].isdecimal():
            return tuple(blocks), int(parts[end])
    return (), 0


@torch.no_grad()
def prefix_states(
    model: PreTrainedModel, first: str, images: Sequence[Inputs], batch: int
) -> tuple[Prefix, Tensor] | None:
    """A prefix and what it gives for each image, where features are the same with it; None where they are not.

    `first` is the layer before which everything stays as it is. They are not in encoders whose blocks pass on more than
    their states, or whose earlier blocks are read beside the last one; nor where images differ in size.
    """
    found = prefix(model, first)
    shapes = {tuple((name, value.shape) for name, value in image.items()) for image in images}
    if found is None or len(shapes) != 1:
        return None
    states = found.states(model, images, batch)
    if states is None:
        return None
    probe = images[: min(2, len(images))]
    whole = visual_features(model, probe)
    blocks, place = _place(model, first)
    after = blocks[place + 1 :]

    def differs(trial: Prefix) -> float:
        with trial.given(states[: len(probe)]):
            short = visual_features(model, probe)
        if whole.values.keys() != short.values.keys():
            return math.inf
        pairs = [(value, short.values[name]) for name, value in whole.values.items()]
        if any(one.shape != other.shape for one, other in pairs):
            return math.inf
        return max(((one - other).abs().max() / one.abs().max().clamp(min=1e-12)).item() for one, other in pairs)

    try:
        if not differs(found) <= CLOSE:
            return None
        while after and differs(shorter := replace(found, idle=(after[-1], *found.idle))) == 0:
            found, after = shorter, after[:-1]
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):  # the blocks pass on something else
        return None
    return found, states
