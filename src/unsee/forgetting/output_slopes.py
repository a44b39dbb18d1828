"""What is read of each layer's outputs: the slopes that the description of images has there."""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor
from torch.nn import Module

from unsee.linalg.output_metric import OutputMetric


def output_metrics(
    layers: Mapping[str, Module], vectors: Callable[[Tensor], Tensor], count: int, size: int, seed: int
) -> dict[str, OutputMetric]:
    """How much each direction of the outputs of these linear layers counts.

    `vectors` gives what describes the images at some of `count` places, with gradient by the layers' weights, which
    must require it; `size` images go through at a time. An image's slopes are those of a random mixture of what
    describes it. A layer that no slope reaches is left out.
    """
    seconds, generator = dict[str, Tensor](), Generator().manual_seed(seed)
    mixtures: Tensor | None = None

    def add(name: str, slope: Tensor) -> None:
        rows = slope.detach().flatten(0, -2).float()
        seconds[name] = seconds.get(name, 0) + rows.T @ rows

    def listen(name: str) -> Callable[[Module, tuple[Tensor, ...], Tensor], None]:
        def heard(_: Module, __: tuple[Tensor, ...], output: Tensor) -> None:
            if output.requires_grad:
                output.register_hook(lambda slope: add(name, slope))

        return heard

    hooks = [layer.register_forward_hook(listen(name)) for name, layer in layers.items()]
    try:
        for part in torch.arange(count).split(size):
            found = vectors(part)
            if mixtures is None:
                mixtures = torch.randn(count, found.shape[1], generator=generator)
            (found * mixtures[part].to(found)).sum().backward()
    finally:
        for hook in hooks:
            hook.remove()
        for layer in layers.values():
            layer.weight.grad = None
    return {name: OutputMetric.of(second) for name, second in seconds.items()}
