"""Clusters of features within concepts, and what is known of the retained images' features."""

import warnings
from dataclasses import dataclass, replace

import torch
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from unsee.linalg.discriminant import Discriminant
from unsee.moments.vectors import Layout

PER_MODE = 3  # images that a cluster within a concept should have at least
WITHIN = 8  # directions within modes that are known


@dataclass(frozen=True, eq=False)
class Modes:
    """Clusters of features within concepts: the looks of a person, the versions of a logo."""

    centers: Tensor
    """(m, d) float32."""
    concept: Tensor
    """(m,) int64, the concept that each belongs to."""


@dataclass(frozen=True, eq=False)
class RetainedFeatures:
    """What a region needs to know of the retained images, without the images."""

    layout: Layout
    """How features become vectors."""
    spread: dict[str, float]
    """Mean squared deviation from the mean, per number, at each crossing."""
    mean: Tensor
    """(d,) float32."""
    modes: Modes
    within: Tensor
    """(k, d) float32, k <= WITHIN, orthonormal: the directions in which images of one mode differ most."""
    discriminant: Discriminant
    """Over the vectors and the retained concepts."""

    def to(self, device: torch.device) -> "RetainedFeatures":
        """The same on a device, but for the modes, which training does not read."""
        return replace(
            self,
            layout=self.layout.to(device),
            mean=self.mean.to(device),
            within=self.within.to(device),
            discriminant=self.discriminant.to(device),
        )


def find_modes(vectors: Tensor, concept: Tensor, most: int, seed: int) -> tuple[Tensor, Modes]:
    """Which cluster each image (n,) belongs to, and the clusters: at most `most` per concept, PER_MODE images each."""
    member = torch.zeros(len(vectors), dtype=torch.int64)
    centers: list[Tensor] = []
    owners: list[int] = []
    for name in concept.unique().tolist():
        rows = torch.where(concept == name)[0]
        count = max(1, min(most, len(rows) // PER_MODE))
        flat = vectors[rows].numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # of fewer different images than clusters
            labels = torch.from_numpy(KMeans(count, n_init=3, random_state=seed).fit_predict(flat)).long()
        for label in labels.unique().tolist():
            inside = rows[labels == label]
            member[inside] = len(centers)
            centers.append(vectors[inside].mean(0))
            owners.append(name)
    return member, Modes(torch.stack(centers), torch.tensor(owners))
