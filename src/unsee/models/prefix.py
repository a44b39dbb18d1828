"""What runs before the first trained layer, run once an image and not in every step; and what features do not need."""

import math
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from unsee.models.features import Inputs, visual_features
from unsee.system.device import in_room

STATE_BYTES = 1 << 29  # of what is kept for all images
SAID = 64  # integers that are sizes or positions; where an image has more they are a mask
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
    axis: int = 0
    """Along which images stand in what enters the block: one after the other (0), or in one row of patches as well."""

    @torch.no_grad()
    def entering(self, model: PreTrainedModel, images: Sequence[Inputs]) -> Tensor | None:
        """What enters the block of a batch of images, float; None where that is not one tensor."""
        found: list[Any] = []

        def keep(_: nn.Module, args: Any, kwargs: Any) -> None:
            found.append(args[0] if args else kwargs.get("hidden_states"))
            raise _ReachedError

        handle = self.block.register_forward_pre_hook(keep, prepend=True, with_kwargs=True)
        try:
            visual_features(model, images)
        except _ReachedError:
            return found[0] if isinstance(found[0], Tensor) else None
        finally:
            handle.remove()
        return None

    def states(self, model: PreTrainedModel, images: Sequence[Inputs], batch: int, most: int) -> list[Tensor] | None:
        """Each image's part of what enters the block; None where it has none of its own, or all are over `most` bytes.

        Images of one size go through the model together, so that all of a batch have parts of one size.
        """
        kinds: dict[Hashable, list[int]] = {}
        for place, image in enumerate(images):
            kinds.setdefault(_kind(image), []).append(place)
        found: dict[int, Tensor] = {}
        held = 0
        for places in kinds.values():
            for start in range(0, len(places), batch):
                part = places[start : start + batch]
                entered = self.entering(model, [images[place] for place in part])
                if entered is None or entered.dim() <= self.axis or entered.shape[self.axis] % len(part):
                    return None
                held += entered.nbytes
                if held / (len(found) + len(part)) * len(images) > most:
                    return None
                found |= zip(part, entered.cpu().split(entered.shape[self.axis] // len(part), self.axis), strict=True)
        return [found[place] for place in range(len(images))]

    def joined(self, states: Sequence[Tensor]) -> Tensor:
        """What enters the block of a batch of images with these states."""
        return torch.cat(list(states), self.axis)

    @contextmanager
    def given(self, states: Tensor) -> Iterator[None]:
        """While open, these `joined` states enter the block in the place of what comes before it.

        They may be on another device than the model. No block up to that one is computed again in a backward pass: that
        would be without them.
        """

        def replace(_: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
            here = states.to((args[0] if args else kwargs["hidden_states"]).device)
            return ((here, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": here})

        handle = self.block.register_forward_pre_hook(replace, prepend=True, with_kwargs=True)
        kept = [block for block in (*self.before, self.block) if isinstance(block, GradientCheckpointingLayer)]
        again = [block.gradient_checkpointing for block in kept]
        try:
            for module in (*self.before, *self.idle):
                vars(module)["forward"] = _pass_on
            for block in kept:
                block.gradient_checkpointing = False
            yield
        finally:
            for module in (*self.before, *self.idle):
                vars(module).pop("forward", None)
            for block, value in zip(kept, again, strict=True):
                block.gradient_checkpointing = value
            handle.remove()


def _kind(image: Inputs) -> Hashable:
    """The same for images of which the encoder makes equally many states: shapes, and what integers say of them."""
    return tuple(
        (name, tuple(value.shape), None if value.is_floating_point() else _said(value)) for name, value in image.items()
    )


def _said(value: Tensor) -> Hashable:
    """A size or a position itself; of a mask how much it lets through."""
    return tuple(value.flatten().tolist()) if value.numel() <= SAID else int(value.sum())


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
    model: PreTrainedModel, first: str, images: Sequence[Inputs], batch: int, most: int = STATE_BYTES
) -> tuple[Prefix, list[Tensor]] | None:
    """A prefix and what it gives for each image, where features are the same with it; None where they are not.

    `first` is the layer before which everything stays as it is. They are not in encoders whose blocks pass on more than
    their states, or whose earlier blocks are read beside the last one; nor is there one where all states together have
    more than `most` bytes.
    """
    bare = prefix(model, first)
    axis = None if bare is None or not images else _axis(bare, model, images[0])
    if bare is None or axis is None:
        return None
    found = replace(bare, axis=axis)
    states = in_room(lambda size: found.states(model, images, size, most), batch)
    if states is None:
        return None
    places = _probes(images)
    probe = [images[place] for place in places]
    whole = visual_features(model, probe)
    blocks, place = _place(model, first)
    after = blocks[place + 1 :]

    def differs(trial: Prefix) -> float:
        with trial.given(trial.joined([states[place] for place in places])):
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


def _axis(given: Prefix, model: PreTrainedModel, image: Inputs) -> int | None:
    """The axis along which what enters the block is twice as long for two images as for one; None if there is none."""
    one, two = given.entering(model, [image]), given.entering(model, [image, image])
    if one is None or two is None or one.dim() != two.dim():
        return None
    longer = [axis for axis, (few, many) in enumerate(zip(one.shape, two.shape, strict=True)) if few != many]
    return longer[0] if len(longer) == 1 and two.shape[longer[0]] == 2 * one.shape[longer[0]] else None


def _probes(images: Sequence[Inputs]) -> list[int]:
    """Places of the first two images, the smallest and the largest: what differs in a batch shows in these."""
    sizes = [sum(value.numel() for value in image.values()) for image in images]
    few = min(2, len(images))
    return [*range(few), *({sizes.index(min(sizes)), sizes.index(max(sizes))} - set(range(few)))]
