"""NSCVF: null-space constrained contrastive visual forgetting.

Source: arXiv 2605.05909 for the idea (contrastive forgetting towards an appropriate region, updates confined to the
null space of retained knowledge). Its formulas and code are not available; what stands here is our reconstruction,
and docs/method.md says where each choice comes from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from unsee.errors import InputError
from unsee.forgetting.by_features import FeatureMethod
from unsee.models.checkpoint import Vlm
from unsee.moments.measure import measure, prepared
from unsee.moments.reading import Reader
from unsee.moments.records import Moments, Photos
from unsee.records import Sample
from unsee.system.memory import Memory


@dataclass(frozen=True)
class NSCVF(FeatureMethod):
    """Settings of the method."""

    name: ClassVar[str] = "nscvf"

    def known(
        self,
        vlm: Vlm,
        target: Sequence[Sample],  # noqa: ARG002 # what is known has nothing to do with it
        retained: Sequence[Sample] | Photos | None,
        moments: Moments | None,
        seed: int,
        bounds: Memory,
        scratch: Path | None,
        reader: Reader | None = None,
    ) -> tuple[Photos | None, Moments]:
        """The retained photos as they are given, or public ones; their moments too, or measured."""
        photos = None if moments is None else moments.public
        if isinstance(retained, Photos):
            photos = retained
        elif retained and moments is not None:
            photos = prepared(vlm, retained, bounds)
        elif retained:
            settings = self.moment_settings(seed)
            moments, photos = measure(vlm, retained, settings, bounds, scratch, share=self.layers(), reader=reader)
        if moments is None:
            raise InputError("there are neither retained images nor moments; give photos of others, or a moments file.")
        known = tuple(moments.features.layout.shapes)
        if self.crossings and set(self.crossings) != set(known):
            raise InputError(
                f"the moments are of the crossings {', '.join(known)}; they cannot be used for others alone."
            )
        return photos, moments


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"steps": 100},
    "resistant": {"harden": 1.0, "resist": 1.0, "depths": 1.0, "share": 0.65, "distill": 12.0},
}
"""Settings by what is wanted: a request in less time, or one that withstands attackers who have the weights."""
