"""Weights rounded to few bits: what an edit moved by little may round back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from unsee.attacks.attack import Point, Subject, right
from unsee.data import open_image
from unsee.models.inputs import image_inputs
from unsee.models.scopes import Scope, scope_layers


def rounded_to(weight: Tensor, bits: int, group: int = 32) -> Tensor:
    """A float weight (out, in) rounded to symmetric integers of so many bits, with a scale for each group of inputs.

    Round to nearest, scaled by the largest of a group; what remains of the inputs is a group too.
    """
    most = 2 ** (bits - 1) - 1
    parts = []
    for part in weight.split(group, 1):
        scale = part.abs().amax(1, keepdim=True).clamp(min=torch.finfo(part.dtype).tiny) / most
        parts.append((part / scale).round() * scale)
    return torch.cat(parts, 1)


@dataclass(frozen=True)
class Quantize:
    """Round to nearest. Source: Zhang et al. 2025 (arXiv 2410.16454), who find that 4 bits bring knowledge back."""

    bits: tuple[int, ...] = (8, 4)
    scopes: tuple[Scope, ...] = ("visual", "all")

    name: ClassVar[str] = "quantize"
    on_before: ClassVar[bool] = True

    def run(self, subject: Subject) -> Iterator[Point]:
        """Every number of bits in every scope."""
        for bits in self.bits:
            for scope in self.scopes:
                vlm = subject.open()
                modules = dict(vlm.model.named_modules())
                image = image_inputs(vlm.processor, [open_image(subject.asked[0])])[0]
                with torch.no_grad():
                    for name in scope_layers(vlm, scope, image):
                        modules[name].weight.copy_(rounded_to(modules[name].weight, bits))
                yield Point(f"int{bits}, {scope}", right(vlm, subject.asked), subject.plain)
