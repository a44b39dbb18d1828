"""Goals for the output of every trained encoder block, against probes that read a concept from inner layers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unsee.errors import InputError
from unsee.linalg.discriminant import Discriminant, fit_discriminant
from unsee.models.features import Inputs, device_of, in_batches, visual_features
from unsee.models.outline import blocks
from unsee.moments.records import Photos

Given = dict[str, Tensor]  # by the block's name, the mean over tokens (image, width)


class Levels:
    """Blocks with trained layers, each with the discriminant of retained photos in what it gave before the request."""

    def __init__(
        self,
        model: PreTrainedModel,
        layers: Sequence[str],
        target: Sequence[Inputs],
        concept: Tensor,
        retained: Photos,
        batch: int,
    ) -> None:
        """`layers` are those that are trained, `concept` numbers the target's images (n,) int64.

        In each block's discriminant coordinates an image is to lose the mean of its concept: what it shows stays, and
        who it is of is the same for all. Raises InputError where no block is trained, or blocks do not work image by
        image.
        """
        self.model, inside = model, blocks(layers, model)
        self.names = list(dict.fromkeys(_block(layer, inside) for layer in layers if layer.startswith(f"{inside}.")))
        if not inside or not self.names:
            raise InputError("no block of the encoder is trained, so that depths asks for nothing; leave it at 0.")
        known, own, device = self._before(retained.inputs, batch), self._before(target, batch), device_of(model)
        found = {name: fit_discriminant(known[name], retained.concept) for name in self.names}
        self.goals = {name: _without_concept(found[name], own[name], concept).to(device) for name in self.names}
        self.discriminants = {name: found[name].to(device) for name in self.names}

    @torch.no_grad()
    def _before(self, images: Sequence[Inputs], batch: int) -> Given:
        found = []
        for part in in_batches(images, batch):
            with self.watched() as given:
                visual_features(self.model, part)
            if any(value.dim() != 2 or len(value) != len(part) for value in given.values()):
                raise InputError("the blocks of this encoder do not work image by image; leave depths at 0.")
            found.append({name: value.cpu() for name, value in given.items()})
        return {name: torch.cat([given[name] for given in found]) for name in self.names}

    @contextmanager
    def watched(self) -> Iterator[Given]:
        """While open, what blocks give of a batch is kept, with gradient where there is one."""
        given: Given = {}

        def keep(name: str, output: Any) -> None:
            given[name] = (output if isinstance(output, Tensor) else output[0]).float().mean(-2)

        handles = [
            self.model.get_submodule(name).register_forward_hook(lambda _, __, output, name=name: keep(name, output))
            for name in self.names
        ]
        try:
            yield given
        finally:
            for handle in handles:
                handle.remove()

    def distance(self, given: Given, places: Tensor) -> Tensor:
        """Mean squared distance of the first images of a batch, the target's at `places`, to where they are sent."""
        gaps = [
            (self.discriminants[name].coordinates(value[: len(places)]) - self.goals[name][places]).square().mean()
            for name, value in given.items()
        ]
        return torch.stack(gaps).mean()


def _without_concept(discriminant: Discriminant, values: Tensor, concept: Tensor) -> Tensor:
    coordinates = discriminant.coordinates(values)
    places = torch.unique(concept, return_inverse=True)[1]
    sums = coordinates.new_zeros(int(places.max()) + 1, coordinates.shape[1]).index_add_(0, places, coordinates)
    return coordinates - (sums / torch.bincount(places)[:, None])[places]


def _block(layer: str, inside: str) -> str:
    """The block of the list `inside` that holds a layer."""
    return f"{inside}.{layer.removeprefix(f'{inside}.').partition('.')[0]}"
