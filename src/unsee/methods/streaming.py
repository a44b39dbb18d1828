"""Streaming: no retained image and no statistics of any; what is to be kept is estimated from the request's own photos.

Source: the setting of "Machine Unlearning for Streaming Forgetting" (arXiv 2507.15280): requests in a stream, without
the original data, the remaining distribution estimated from what must be forgotten. Its estimator is for classifiers;
the one here is ours: photos of the target whose layout is destroyed stand in for photos of others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image, ImageFilter

from unsee.data import open_image
from unsee.data.views import shrunk
from unsee.errors import check_ranges
from unsee.forgetting.by_features import FeatureMethod
from unsee.models.checkpoint import Vlm
from unsee.moments.measure import measure
from unsee.moments.reading import Reader
from unsee.moments.records import Moments, Photos
from unsee.records import Sample
from unsee.system.memory import Memory

TILES = 4  # a side, of a photo whose tiles are dealt again
BLUR = 0.08  # of a photo's shorter side


@dataclass(frozen=True)
class Streaming(FeatureMethod):
    """Settings of the method; what is said of retained images holds of the stand-ins."""

    region: str = "nearest"
    """Where the features of the target are sent, among the stand-ins: a name in unsee.forgetting.regions.REGIONS."""
    reach: float = 1.0
    """Factor of the region's shift, above 0; it grows where the target would still be named."""
    directions: int = 6
    """Discriminant directions that the region moves, 1 or more."""
    distill: float = 1.0
    """Weight of keeping the features of the stand-ins, 0 or more."""
    hold: float = 0.0
    """Weight of keeping what each layer gives for the stand-ins, 0 or more."""
    views: int = 800
    """Variations of the target images altogether, 0 or more."""
    share: float = 1.0
    """Of the layers that are trained, counted from the features back: above 0, 1 for all; all of them anyway where
    features enter the language model in several places."""
    steps: int = 75
    """Most training steps, 1 or more."""
    rate: float = 2e-3
    """Highest learning rate, above 0."""
    optimizer: str = "adamw"
    """What makes a step of a gradient. muon: every direction of a weight moves alike; adamw: every number does."""
    stop_target: float = 0.02
    """Stop early once the target's distance to its goal is this share of what it was at first."""
    standins: int = 4
    """Stand-ins of each kind that are made of each photo, 1 or more."""

    name: ClassVar[str] = "streaming"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        super().__post_init__()
        check_ranges(self, at_least_1=("standins",))

    def known(
        self,
        vlm: Vlm,
        target: Sequence[Sample],
        retained: Sequence[Sample] | Photos | None,  # noqa: ARG002 # the point is to do without
        moments: Moments | None,
        seed: int,
        bounds: Memory,
        scratch: Path | None,
        reader: Reader | None = None,
    ) -> tuple[Photos | None, Moments]:
        """Stand-ins for the retained photos and their moments; of those that are given, the guard alone is used."""
        others = standins(target, self.standins, seed)
        estimated, photos = measure(
            vlm, others, self.moment_settings(seed), bounds, scratch, share=self.layers(), reader=reader
        )
        if moments is None:
            return photos, estimated
        return photos, replace(estimated, guard=moments.guard, anchors=moments.anchors)


def standins(target: Sequence[Sample], each: int, seed: int) -> list[Sample]:
    """Stand-ins for photos of others: of each photo `each` with its tiles dealt again, and `each` blurred mixtures.

    A mixture is the mean of two of the photos, one mirrored, blurred until no trait is left of either. Both kinds keep
    colours and light.
    """
    rng = np.random.default_rng(seed)
    photos = [shrunk(open_image(sample.image)) for sample in target if sample.image is not None]
    made = []
    for photo in photos:
        for _ in range(each):
            made.append(Sample(_dealt(photo, rng), "dealt"))
            other = photos[int(rng.integers(len(photos)))].resize(photo.size)
            mixed = Image.blend(photo, other.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.5)
            blur = BLUR * min(photo.size) * float(rng.uniform(0.5, 1.5))
            made.append(Sample(mixed.filter(ImageFilter.GaussianBlur(blur)), "blurred"))
    return made


def _dealt(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The photo cut into TILES x TILES tiles, in another order; what is left over at the edges stays."""
    width, height = photo.width // TILES, photo.height // TILES
    result = photo.copy()
    places = [(column * width, row * height) for row in range(TILES) for column in range(TILES)]
    for (x, y), source in zip(places, rng.permutation(len(places)), strict=True):
        left, top = places[int(source)]
        result.paste(photo.crop((left, top, left + width, top + height)), (x, y))
    return result
