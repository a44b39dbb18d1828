"""What a visual part is like, found without a single value of its weights: shapes, routes, and which layers count."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from transformers import PreTrainedModel

from unsee.models.features import Inputs, visual_features
from unsee.models.locate import Partition


@dataclass(frozen=True)
class Outline:
    """How images flow through a visual part.

    `trained` are the linear layers whose weight the features depend on, in the order in which they run. `first` names
    for each of them the first one that reads the very same tensor, itself or another (as k and v read what q reads).
    `crossings` are (tokens, width) of one image, by name.
    """

    trained: tuple[str, ...]
    first: dict[str, str]
    crossings: dict[str, tuple[int, int]]


SHARE = 0.43  # of the layers, counted from the features back, that `unsee.methods.NSCVF` trains by default


def last_layers(layers: Sequence[str], crossings: int, share: float) -> list[str]:
    """The last layers, as many as `share` of all says, at least one; `layers` are in the order in which they run.

    All of them where there are several crossings, because the last layers lead to the last of those alone.
    """
    return list(layers) if crossings > 1 else list(layers[-math.ceil(share * len(layers)) :])


def blocks(layers: Sequence[str], model: nn.Module) -> str:
    """The name of the list of blocks that holds most of the layers; empty where none is in one."""
    lists = [name for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    held = {name: sum(layer.startswith(f"{name}.") for layer in layers) for name in lists}
    best = max(held, key=lambda name: (held[name], name.count(".")), default="")
    return best if held.get(best) else ""


def projector_layers(layers: Sequence[str], model: nn.Module) -> list[str]:
    """Of layers given in the order in which they run, those after the last block of the encoder."""
    inside = blocks(layers, model)
    last = max((place for place, layer in enumerate(layers) if inside and layer.startswith(f"{inside}.")), default=-1)
    return list(layers[last + 1 :])


class _Shapes(TorchDispatchMode):
    """Lets a model on the meta device run on a real image: floats lose their values, whole numbers keep them.

    Sizes, grids and masks, on which a forward pass may branch, are whole numbers or booleans.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # of torch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        empty = any(tensor.is_meta for tensor in tensors)
        if empty and any(tensor.is_floating_point() and not tensor.is_meta for tensor in tensors):
            args, kwargs = tree_map_only(Tensor, lambda t: t.to("meta") if t.is_floating_point() else t, (args, kwargs))
        if kwargs.get("device") is not None:
            source = next((arg for arg in args if isinstance(arg, Tensor)), None)
            dtype = kwargs.get("dtype") or (torch.get_default_dtype() if source is None else source.dtype)
            from_tensor = source is not None and source.is_meta
            floats = dtype.is_floating_point and torch.device(kwargs["device"]).type == "meta"
            kwargs["device"] = torch.device("meta" if from_tensor or floats else "cpu")
        try:
            return func(*args, **kwargs)
        except (RuntimeError, NotImplementedError):  # devices mixed in an operation that does not take that
            args, kwargs = tree_map_only(Tensor, lambda t: t.to("meta"), (args, kwargs))
            return func(*args, **kwargs)


@contextmanager
def hooked(hooks: Iterable[tuple[nn.Module, Callable[[Tensor], None]]]) -> Iterator[None]:
    """While open, each module shows its hook what flows into it."""
    handles = []
    for module, hook in hooks:
        handles.append(module.register_forward_pre_hook(lambda _, args, hook=hook: hook(args[0])))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _leaves(result: Tensor) -> set[int]:
    """The ids of the tensors that a backward pass from `result` would reach."""
    ahead, seen, found = [result.grad_fn], set[Any](), set[int]()
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found.add(id(getattr(node, "variable", None)))
        ahead += [following for following, _ in node.next_functions]
    return found


def outline(model: PreTrainedModel, partition: Partition, image: Inputs, crossings: Sequence[str] = ()) -> Outline:
    """Follows one image through a model on the meta device; raises as `visual_features` does.

    The layers that count are those on which the named crossings depend, all of them where none is named.
    """
    modules = dict(model.named_modules())
    weights = {name: modules[name].weight for name in partition.linear}
    seen: list[tuple[str, Tensor]] = []
    first: dict[str, str] = {}

    def note(name: str) -> Callable[[Tensor], None]:
        def hook(tensor: Tensor) -> None:
            if name in first:  # a layer that runs twice reads two tensors, so that nothing else shares all it reads
                first[name] = name
                return
            first[name] = next((other for other, known in seen if known is tensor), name)
            seen.append((name, tensor))

        return hook

    for weight in weights.values():
        weight.requires_grad_(True)
    try:
        with _Shapes(), torch.enable_grad():
            with hooked((modules[name], note(name)) for name in weights):
                features = visual_features(model, [image])
            total = torch.stack([value.sum() for value in features.only(crossings).values.values()]).sum()
            reached = _leaves(total)
    finally:
        for weight in weights.values():
            weight.requires_grad_(False)
    trained = tuple(name for name in first if id(weights[name]) in reached)
    readers = {name: next(other for other in trained if first[other] == first[name]) for name in trained}
    shapes = {name: (value.shape[1], value.shape[2]) for name, value in features.values.items()}
    return Outline(trained, readers, shapes)
