"""What a request is after: the features of its images, with variations of them, and where they are sent."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Generator, Tensor

from unsee.data import open_image
from unsee.data.views import LARGEST, blended, largest, mixed, shrunk, sources, varied
from unsee.forgetting import losses
from unsee.forgetting.regions import (
    AUTO,
    ENOUGH,
    UNASKED,
    RegionSettings,
    Sent,
    TargetFeatures,
    belonging,
    region,
    valid_shift,
)
from unsee.models.checkpoint import Vlm
from unsee.models.features import Features, Inputs, all_features, joined
from unsee.models.inputs import enough, image_inputs
from unsee.moments.modes import RetainedFeatures, find_modes
from unsee.moments.reading import Landed, Reader
from unsee.moments.records import Photos
from unsee.system.progress import steps

MOST_BYTES = 1 << 30  # of the features of all variations
HALF = 6e4  # what a number in half precision may be
READ = 48  # photos that a language model is asked about where they are sent
FEW = 8  # photos of the request and of others that say how large photos are
FEWEST = 16  # variations of each photo that are made all the same


@dataclass(frozen=True)
class GoalSettings:
    """Which region images are sent to, how many variations of them are made, and how distances are measured.

    `views` variations are mixed from the images, then `blends` more with retained photos; `identity` weighs, within a
    distance, the coordinates that tell concepts apart.
    """

    region: str
    along: RegionSettings
    views: int
    blends: int = 0
    identity: float = 1.0


class Goals:
    """A request's images and their variations, with the features they had before, and where each is sent."""

    def __init__(
        self,
        vlm: Vlm,
        shown: Photos,
        known: RetainedFeatures,
        settings: GoalSettings,
        batch: int,
        others: Sequence[Path | Image] = (),
        reader: Reader | None = None,
        most: int | None = None,
    ) -> None:
        """`shown` are the request's photos, `others` retained photos, of which variations take parts if there are any.

        A `reader` says who the photos are where they are sent; without one, what tells concepts apart does.

        Each photo has as many variations as any other, the numbers rounded up. Where the features of all would have
        more than `most` bytes, MOST_BYTES if none are given, they are held in half precision, and where that is not
        enough there are fewer, down to FEWEST. `batch` images go through the model at once.
        """
        self.known, self.identity, self.batch, self.seed = known, settings.identity, batch, settings.along.seed
        self.side = enough(vlm.processor, largest([*shown.pictures[:FEW], *others[:FEW]]), LARGEST)
        self.own = TargetFeatures(known.layout.vectors(shown.features), shown.concept)
        seen = self._belongs if reader is None else partial(self._reads, reader, shown)
        if reader is not None and reader.unnamed and settings.region == AUTO:
            self.sent = self._unnamed(reader, shown, settings.along)
        else:
            self.sent = valid_shift(settings.region, self.own, known, settings.along, seen)
        self.images = len(shown.pictures)
        views, blends, dtype = self._copies(settings, shown, MOST_BYTES if most is None else most, others=bool(others))
        copies = self._varied(vlm, shown, settings.along, views, blends, others)
        self.wholes = self.images * (1 + views)
        self.inputs: list[Inputs] = [*shown.inputs, *(image for copy in copies for image in copy)]
        found = (all_features(vlm.model, copy, batch).stored(dtype) for copy in copies)
        self.original = joined([shown.features.stored(dtype), *found])
        self.concept: Tensor = shown.concept.repeat(1 + len(copies))
        self.shift = self.sent.shift.repeat(1 + len(copies), 1)
        if self.wholes < len(self.inputs):
            self.shift[self.wholes :] *= self._belonging_of_blends()[:, None]
        first = torch.arange(self.images)
        self.away = losses.distance(shown.features, self.goal(first), known, self.identity).item()

    def _belongs(self, shift: Tensor) -> Landed:
        share = belonging(self.own.vectors + shift, self.own.concept, self.own, self.known)
        return Landed(share.mean().item(), 0.0)

    def _reads(self, reader: Reader, shown: Photos, shift: Tensor) -> Landed:
        chosen = torch.arange(0, len(shift), -(-len(shift) // READ))
        images = [shrunk(open_image(shown.pictures[i]), self.side) for i in chosen.tolist()]
        names = [shown.names[shown.concept[i]] for i in chosen.tolist()]
        return reader.landed(images, names, self.known.layout, shift[chosen])

    def _unnamed(self, reader: Reader, shown: Photos, along: RegionSettings) -> Sent:
        """Where the model no longer names the images, from the region of nobody in particular on."""
        images = [shrunk(open_image(picture), self.side) for picture in shown.pictures]
        names = [shown.names[number] for number in shown.concept.tolist()]
        unit = (self.known.modes.centers - self.known.mean).square().mean().sqrt().item()
        start = region(UNASKED)(self.own, self.known, along)
        shift = reader.unnaming(images, names, self.known.layout, start, unit, ENOUGH)
        before, there = (self._reads(reader, shown, moved) for moved in (torch.zeros_like(shift), shift))
        return Sent(shift, along.reach, before.named, there)

    def _copies(
        self, settings: GoalSettings, shown: Photos, most: int, *, others: bool
    ) -> tuple[int, int, torch.dtype]:
        """How many variations and blends of each photo are made, and in which precision their features are held."""
        views = math.ceil(settings.views / self.images)
        blends = math.ceil(settings.blends / self.images) if others else 0
        values, dtype = list(shown.features.values.values()), torch.float32
        room = most // sum(value.nbytes for value in values)
        if views + blends > room and all(value.abs().max() < HALF for value in values):
            room, dtype = 2 * room, torch.float16
        room = max(FEWEST, room)
        if views + blends > room:
            views, blends = math.ceil(views * room / (views + blends)), blends * room // (views + blends)
        return views, blends, dtype

    def _varied(
        self, vlm: Vlm, shown: Photos, along: RegionSettings, views: int, blends: int, others: Sequence[Path | Image]
    ) -> list[list[Inputs]]:
        """Variations of all photos, `views` times, then blends of such variations with others, `blends` times.

        A photo is mixed with others of its own mode, as the region's settings divide concepts into modes.
        """
        generator = Generator().manual_seed(along.seed)
        opened = [shrunk(open_image(picture), self.side) for picture in shown.pictures]
        member, _ = find_modes(self.own.vectors, self.own.concept, along.modes, along.seed)
        mates = [torch.where(member == mode)[0].tolist() for mode in member]
        retained = sources(others, self.side)

        def view() -> list[Image]:
            return varied(mixed(opened, mates, retained, generator), generator)

        copies = [image_inputs(vlm.processor, view()) for _ in steps("varying photos", range(views))]
        return copies + [image_inputs(vlm.processor, blended(view(), retained, generator)) for _ in range(blends)]

    def _belonging_of_blends(self) -> Tensor:
        """How far each blend is of its concept: that far it is sent."""
        vectors = self.each(self.known.layout.vectors)[self.wholes :]
        return belonging(vectors, self.concept[self.wholes :], self.own, self.known)

    def before(self, drawn: Tensor) -> Features:
        """The features, float32, that these images (places in `inputs`) had before."""
        return self.original[drawn].stored(torch.float32)

    def goal(self, drawn: Tensor) -> Features:
        """Where the features of these images are sent."""
        return self.known.layout.shifted(self.before(drawn), self.shift[drawn])

    def each(self, described: Callable[[Features], Tensor], *, there: bool = False) -> Tensor:
        """What describes each image, before or `there` where it is sent; few are float32 at a time where all are many.

        As many as have MOST_BYTES // 4 bytes so.
        """
        single = sum(4 * value[0].numel() for value in self.original.values.values())
        parts = torch.arange(len(self.inputs)).split(max(1, MOST_BYTES // 4 // single))
        return torch.cat([described(self.goal(part) if there else self.before(part)) for part in parts])

    def look(self, vlm: Vlm) -> dict[str, float]:
        """How far the request's own photos are: target (1 at first, 0 at the region), and how named they are still."""
        first = torch.arange(self.images)
        features = all_features(vlm.model, self.inputs[: self.images], self.batch)
        apart = losses.distance(features, self.goal(first), self.known, self.identity).item()
        named = belonging(self.known.layout.vectors(features), self.own.concept, self.own, self.known).mean().item()
        return {"target": apart / max(self.away, 1e-12), "named": named}

    def facts(self) -> dict[str, float]:
        """What the region turned out to be."""
        sent = self.sent
        return {
            "variations": len(self.inputs) - self.images,
            "region_reach": sent.reach,
            "named_before": sent.named_before,
            "named_in_region": sent.there.named,
            "another_in_region": sent.there.another,
        }
