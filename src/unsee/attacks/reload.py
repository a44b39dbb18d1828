"""Parts of the model before put back into the edited one: forgetting that this undoes was hidden there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from unsee.attacks.attack import Point, Subject, right
from unsee.data import open_image
from unsee.errors import InputError
from unsee.models.checkpoint import Vlm
from unsee.models.inputs import image_inputs
from unsee.models.outline import blocks, outline, projector_layers
from unsee.models.weights import assign


@dataclass(frozen=True)
class ProjectorReload:
    """The linear layers after the encoder's last block."""

    name: ClassVar[str] = "projector_reload"
    on_before: ClassVar[bool] = False

    def run(self, subject: Subject) -> Iterator[Point]:
        """One budget."""
        vlm = subject.open()
        old = subject.old(vlm).model
        layers = projector_layers(_layers(vlm, subject), vlm.outline)
        if not layers:
            raise InputError(f"{subject.folder} has no linear layer after its encoder; leave projector_reload out.")
        _put_back(vlm.model, old, layers)
        yield Point("projector", right(vlm, subject.asked), subject.plain)


@dataclass(frozen=True)
class EncoderReload:
    """Puts back each encoder block alone; then all blocks from each one on, together with the projector.

    Where all that differs would be put back there is nothing to learn: that is the model before.
    """

    name: ClassVar[str] = "encoder_reload"
    on_before: ClassVar[bool] = False

    def run(self, subject: Subject) -> Iterator[Point]:
        """Two budgets for each block."""
        vlm = subject.open()
        old = subject.old(vlm).model
        layers = _layers(vlm, subject)
        inside = blocks(layers, vlm.outline)
        if not inside:
            raise InputError(f"{subject.folder} has no list of blocks in its encoder; leave encoder_reload out.")
        moved = {name for name, value in _visual(vlm) if not torch.equal(value, old.get_parameter(name))}
        names = [f"{inside}.{place}" for place, _ in enumerate(vlm.model.get_submodule(inside).children())]
        for place, name in enumerate(names):
            own = _put_back(vlm.model, old, [name])
            yield Point(f"block {place}", right(vlm, subject.asked), subject.plain)
            assign(dict(vlm.model.named_parameters()), own)
        projector = projector_layers(layers, vlm.outline)
        for place in reversed(range(len(names))):
            back = _put_back(vlm.model, old, [*names[place:], *projector])
            if moved <= back.keys():
                return
            yield Point(f"from block {place} on", right(vlm, subject.asked), subject.plain)


def _visual(vlm: Vlm) -> Iterator[tuple[str, Tensor]]:
    return ((name, vlm.model.get_parameter(name)) for name in vlm.partition.visual)


def _layers(vlm: Vlm, subject: Subject) -> list[str]:
    image = image_inputs(vlm.processor, [open_image(subject.asked[0])])[0]
    return list(outline(vlm.outline, vlm.partition, image).trained)


def _put_back(model: nn.Module, old: nn.Module, modules: Sequence[str]) -> dict[str, Tensor]:
    """Gives the modules their values in `old`; returns those they had, by parameter."""
    before = dict(old.named_parameters())
    names = [name for name, _ in model.named_parameters() if name.startswith(tuple(f"{m}." for m in modules))]
    own = {name: model.get_parameter(name).detach().clone() for name in names}
    assign(dict(model.named_parameters()), {name: before[name] for name in names})
    return own
