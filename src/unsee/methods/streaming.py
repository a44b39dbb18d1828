"""Streaming: no retained image and no statistics of any; what is to be kept is estimated from the request's own photos.

Source: the setting of "Machine Unlearning for Streaming Forgetting" (arXiv 2507.15280): requests in a stream, without
the original data, the remaining distribution estimated from what must be forgotten. Its estimator is for classifiers;
the one here is ours: photos of the target whose layout is destroyed stand in for photos of others.
"""

import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from PIL import Image, ImageFilter

from unsee.data import open_image, validate
from unsee.errors import check_ranges, check_share
from unsee.forgetting.by_features import contrastive
from unsee.forgetting.edit import Edit
from unsee.forgetting.regions import region
from unsee.forgetting.training import Progress
from unsee.models.checkpoint import Vlm
from unsee.moments.measure import measure
from unsee.moments.records import Moments, MomentSettings, Photos
from unsee.records import Sample
from unsee.system.disk import workspace
from unsee.system.memory import give_back, plan

TILES = 4  # a side, of a photo whose tiles are dealt again
BLUR = 0.08  # of a photo's shorter side


@dataclass(frozen=True)
class Streaming:
    """Settings of the method."""

    region: str = "nearest"
    """Where the features of the target are sent, among the stand-ins: a name in unsee.forgetting.regions.REGIONS."""
    reach: float = 1.0
    """Factor of the region's shift, above 0; it grows where the target would still be named."""
    modes: int = 3
    """Most clusters that a concept is divided into, 1 or more."""
    directions: int = 6
    """Discriminant directions that the region moves, 1 or more."""
    aside: int = 4
    """Of the regions discriminant and concept: how many directions, of those that vary most within a concept, stay."""
    standins: int = 4
    """Stand-ins of each kind that are made of each photo, 1 or more."""
    contrast: float = 0.1
    """Weight of the contrastive loss; 0 switches it off."""
    attract: float = 1.0
    """Weight of the squared distance to the region; 0 switches it off."""
    harden: float = 0.0
    """As of `unsee.methods.NSCVF`."""
    resist: float = 0.0
    """As of `unsee.methods.NSCVF`."""
    tamper: float = 0.012
    """As of `unsee.methods.NSCVF`."""
    depths: float = 0.0
    """As of `unsee.methods.NSCVF`; stand-ins are the retained images."""
    distill: float = 1.0
    """Weight of keeping the features of the stand-ins, 0 or more."""
    identity: float = 1.0
    """Weight of the coordinates that tell target and stand-ins apart, 0 or more."""
    temperature: float = 0.5
    """Of the contrastive loss, above 0."""
    null_space: bool = True
    """Confine every step to the null space of the stand-ins."""
    criterion: str = "soft"
    """What is protected; see `unsee.methods.NSCVF`."""
    ridge: float = 0.01
    """Of soft, above 0, in units of the mean energy; smaller protects more."""
    keep: float = 0.99
    """Of the other criteria: how much is protected, in [0, 1]."""
    views: int = 800
    """Variations of the target images altogether, 0 or more."""
    blends: int = 0
    """Blends of target images with stand-ins altogether, 0 or more."""
    crossings: tuple[str, ...] = ()
    """Where features must be forgotten: names that `unsee inspect` gives; every crossing where none is named."""
    runs: int = 1
    """Runs of tokens whose means describe an image; 1: its mean over all tokens; 0: each token, or 16 runs where their
    number varies or is large."""
    share: float = 1.0
    """Of the layers that are trained, counted from the features back: above 0, 1 for all; all of them anyway where
    features enter the language model in several places."""
    steps: int = 75
    """Most training steps, 1 or more."""
    rate: float = 2e-3
    """Highest learning rate, above 0."""
    weight_decay: float = 0.0
    """Of AdamW, 0 or more."""
    batch: int = 32
    """Target images per step, 1 or more; half as many again are stand-ins."""
    stop_target: float = 0.02
    """Stop early when the target is this close to its region (1 is where it started) ..."""
    stop_drift: float = 0.02
    """... and the stand-ins' features have moved no more than this."""

    name: ClassVar[str] = "streaming"
    language: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        region(self.region)
        check_ranges(
            self,
            above=("reach", "temperature", "rate", "ridge", "tamper"),
            at_least_0=(
                "contrast",
                "attract",
                "harden",
                "resist",
                "depths",
                "distill",
                "identity",
                "views",
                "blends",
                "runs",
                "weight_decay",
                "aside",
            ),
            at_least_1=("modes", "directions", "standins", "steps", "batch"),
        )
        check_share(self.share)

    def moment_settings(self, seed: int) -> MomentSettings:
        """How this method wants features summarised."""
        return MomentSettings(modes=self.modes, seed=seed, crossings=self.crossings, runs=self.runs)

    def forget(
        self,
        vlm: Vlm,
        target: Sequence[Sample],
        retained: Sequence[Sample] | Photos | None,  # noqa: ARG002 # the point is to do without
        *,
        moments: Moments | None = None,
        seed: int = 0,
        memory: str = "normal",
        state: Path | None = None,
        progress: Progress | None = None,
    ) -> Edit:
        """Forgets what is on the target images; see `Method.forget`. Of the moments, the guard alone is used."""
        bounds = plan(memory, sum(vlm.partition.groups.values()))
        if bounds.frugal:
            give_back()
        place = Path(tempfile.gettempdir()) if state is None else state.parent
        with workspace(place, "unsee") if bounds.frugal else nullcontext() as scratch:
            started = time.monotonic()
            validate(target, "target")
            others = standins(target, self.standins, seed)
            where = scratch
            estimated, photos = measure(vlm, others, self.moment_settings(seed), bounds, where, share=self.share)
            if moments is not None:
                estimated = replace(estimated, guard=moments.guard)
            return contrastive(
                self,
                vlm,
                target,
                photos,
                estimated,
                seed=seed,
                memory=memory,
                measured=time.monotonic() - started,
                state=state,
                progress=progress,
            )


def standins(target: Sequence[Sample], each: int, seed: int) -> list[Sample]:
    """Stand-ins for photos of others: of each photo `each` with its tiles dealt again, and `each` blurred mixtures.

    A mixture is the mean of two of the photos, one mirrored, blurred until no trait is left of either. Both kinds keep
    colours and light.
    """
    rng = np.random.default_rng(seed)
    photos = [open_image(sample.image) for sample in target if sample.image is not None]
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
