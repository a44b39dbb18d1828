"""What a request is after: the features of its images, with variations of them, and where they are sent."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Generator, Tensor

from unsee.data import open_image
from unsee.data.views import blended, mixed, varied
from unsee.forgetting import losses
from unsee.forgetting.regions import RegionSettings, TargetFeatures, belonging, valid_shift
from unsee.models.checkpoint import Vlm
from unsee.models.features import Features, Inputs, all_features, joined
from unsee.models.inputs import image_inputs
from unsee.moments.modes import RetainedFeatures, find_modes
from unsee.moments.records import Photos
from unsee.records import Sample

MOST_BYTES = 1 << 30  # of the features of all variations
FEWEST = 16  # variations of each photo that are made all the same


class Aim:
    """A request's images and their variations, with reference features, and the region of each."""

    def __init__(
        self,
        vlm: Vlm,
        samples: Sequence[Sample],
        shown: Photos,
        known: RetainedFeatures,
        *,
        region: str,
        asked: RegionSettings,
        views: int,
        identity: float,
        batch: int,
        others: Sequence[Path | Image] = (),
        blends: int = 0,
    ) -> None:
        """`shown` are the samples prepared; `views` variations are made of them, `identity` weighs their distance.

        The variations take parts of `others`, retained photos, where there are any; then `blends` more are blended with
        one, and go along the shift as far as they belong to their concept. Each sample has as many as any other, the
        numbers rounded up; fewer, down to FEWEST, where the features of all would take too much memory.
        """
        self.known, self.identity, self.batch = known, identity, batch
        self.own = TargetFeatures(known.layout.vectors(shown.features), shown.concept)
        self.sent = valid_shift(region, self.own, known, asked)
        generator = Generator().manual_seed(asked.seed)
        opened = [open_image(sample.image) for sample in samples if sample.image is not None]
        member, _ = find_modes(self.own.vectors, self.own.concept, asked.modes, asked.seed)
        mates = [torch.where(member == mode)[0].tolist() for mode in member]
        aside = [partial(open_image, picture) for picture in others]

        def view() -> list[Image]:
            return varied(mixed(opened, mates, aside, generator), generator)

        self.images = len(opened)
        each, mixtures = math.ceil(views / self.images), math.ceil(blends / self.images) if aside else 0
        room = max(FEWEST, MOST_BYTES // sum(value.nbytes for value in shown.features.values.values()))
        if each + mixtures > room:
            each, mixtures = math.ceil(each * room / (each + mixtures)), mixtures * room // (each + mixtures)
        copies = [image_inputs(vlm.processor, view()) for _ in range(each)]
        copies += [image_inputs(vlm.processor, blended(view(), aside, generator)) for _ in range(mixtures)]
        self.wholes = self.images * (1 + each)
        self.inputs: list[Inputs] = [*shown.inputs, *(image for copy in copies for image in copy)]
        self.original = joined([shown.features, *(all_features(vlm.model, copy, batch) for copy in copies)])
        self.concept: Tensor = shown.concept.repeat(1 + len(copies))
        self.shift = self.sent.shift.repeat(1 + len(copies), 1)
        if self.wholes < len(self.inputs):
            vectors = known.layout.vectors(self.original[torch.arange(self.wholes, len(self.inputs))])
            near = belonging(vectors, self.concept[self.wholes :], self.own, known)
            self.shift[self.wholes :] *= near[:, None]
        first = torch.arange(self.images)
        self.away = losses.distance(shown.features, self.goal(first), known, identity).item()

    def goal(self, drawn: Tensor) -> Features:
        """Where the features of these images (places in `inputs`) are sent."""
        return self.known.layout.shifted(self.original[drawn], self.shift[drawn])

    def look(self, vlm: Vlm) -> dict[str, float]:
        """How far the request's own photos are: target (1 at first, 0 at the region), and how named they are still."""
        first = torch.arange(self.images)
        features = all_features(vlm.model, self.inputs[: self.images], self.batch)
        apart = losses.distance(features, self.goal(first), self.known, self.identity).item()
        named = belonging(self.known.layout.vectors(features), self.own.concept, self.own, self.known).mean().item()
        return {"target": apart / max(self.away, 1e-12), "named": named}
