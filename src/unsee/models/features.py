"""Visual features as they cross into the language model, and what flows into each layer on the way there."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from unsee.errors import InputError
from unsee.linalg.gram import Gram, GramStream

Inputs = dict[str, Tensor]


@runtime_checkable
class _SeesImages(Protocol):
    """The vision-language models of transformers 5; no base class of theirs declares the method."""

    def get_image_features(self, **inputs: Tensor) -> Any: ...


def visual_features(model: PreTrainedModel, inputs: Inputs) -> Tensor:
    """Features (image, token, width) of a batch of images, with gradient where it is enabled; no language model runs.

    Raises InputError where the number of tokens varies between the images of the batch, or the family gives no image
    features by themselves.
    """
    base = model.base_model
    if not isinstance(base, _SeesImages):
        raise InputError(f"{type(model).__name__} gives no image features by themselves; this family is not supported.")
    output = base.get_image_features(**inputs).pooler_output
    if isinstance(output, Tensor):
        return output
    if len({len(item) for item in output}) > 1:
        raise InputError(f"{type(model).__name__} gave a varying number of tokens per image; give images of one size.")
    return torch.stack(list(output))


def in_batches(inputs: Inputs, size: int) -> Iterator[Inputs]:
    """The same inputs in consecutive batches of at most `size` images."""
    count = len(next(iter(inputs.values())))
    for start in range(0, count, size):
        yield {name: value[start : start + size] for name, value in inputs.items()}


@torch.no_grad()
def all_features(model: PreTrainedModel, inputs: Inputs, batch: int = 128) -> Tensor:
    """Features (image, token, width) of any number of images, without gradient."""
    return torch.cat([visual_features(model, part) for part in in_batches(inputs, batch)])


@contextmanager
def _hooked(hooks: Iterable[tuple[nn.Module, Callable[[Tensor], None]]]) -> Iterator[None]:
    handles = []
    for module, hook in hooks:
        handles.append(module.register_forward_pre_hook(lambda _, args, hook=hook: hook(args[0].detach())))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def shared_inputs(model: PreTrainedModel, layers: Iterable[str], inputs: Inputs) -> dict[str, str]:
    """For each linear layer that runs, the first layer that reads the very same tensor (as q, k and v do)."""
    seen: list[tuple[str, Tensor]] = []
    found: dict[str, str] = {}

    def note(name: str) -> Callable[[Tensor], None]:
        def hook(tensor: Tensor) -> None:
            for first, other in seen:
                if other.data_ptr() == tensor.data_ptr() and other.shape == tensor.shape:
                    found[name] = first
                    return
            seen.append((name, tensor))
            found[name] = name

        return hook

    modules = dict(model.named_modules())
    with _hooked((modules[name], note(name)) for name in layers):
        visual_features(model, {name: value[:1] for name, value in inputs.items()})
    return found


def trainable_layers(model: PreTrainedModel, layers: Iterable[str], inputs: Inputs) -> tuple[str, ...]:
    """Those of the linear layers whose weight the features depend on, by a backward pass over one image."""
    names = tuple(layers)
    modules = dict(model.named_modules())
    weights = [modules[name].weight for name in names]
    frozen = [weight.requires_grad for weight in weights]
    for weight in weights:
        weight.requires_grad_(True)
    total = visual_features(model, {name: value[:1] for name, value in inputs.items()}).sum()
    gradients = torch.autograd.grad(total, weights, allow_unused=True)
    for weight, state in zip(weights, frozen, strict=True):
        weight.requires_grad_(state)
    return tuple(name for name, gradient in zip(names, gradients, strict=True) if gradient is not None)


@torch.no_grad()
def retained_moments(model: PreTrainedModel, layers: Iterable[str], batches: Iterable[Inputs]) -> dict[str, Gram]:
    """The Gram matrix of what the images put into each linear layer; layers with the same input share one object."""
    names, modules = tuple(layers), dict(model.named_modules())
    streams: dict[str, GramStream] = {}
    first: dict[str, str] = {}
    for batch in batches:
        if not streams:
            first = shared_inputs(model, names, batch)
            streams = {name: GramStream(modules[name].in_features) for name in set(first.values())}
        with _hooked((modules[name], stream.update) for name, stream in streams.items()):
            visual_features(model, batch)
    grams = {name: stream.gram for name, stream in streams.items()}
    return {name: grams[first[name]] for name in first}
