"""Where a forgotten concept is sent: each region gives a shift for every target image's vector of features.

All share one signature, (target, retained, settings) -> shift (n, d), to be added to the vectors of the target images
(see vectors.py). arXiv 2605.05909 speaks of an "appropriate region" without a formula; these are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unsee.errors import unknown
from unsee.moments.modes import Modes, RetainedFeatures, find_modes
from unsee.moments.reading import Landed

NEIGHBOURS = 4
SOFTNESS = 4.0  # of `belonging`, in variances within a concept
PARALLEL = 1e-3  # a singular value, by the largest, below which there is no direction of its own
NAMED = 0.05  # mean posterior of the own concept below which a region counts as nobody's
APPEARANCES = 8  # directions in which the modes of a concept differ most, which no shift by the discriminant goes along
ENOUGH = 0.6  # of the way to the region, at which an image must no longer be named
GROW, MOST_REACH = 1.25, 4.0  # how the reach grows while the region is still named, and where that ends


@dataclass(frozen=True, eq=False)
class TargetFeatures:
    """Vectors (n, d) of the target images and the concept (n,) int64 of each."""

    vectors: Tensor
    concept: Tensor


@dataclass(frozen=True, eq=False)
class Sent:
    """Where a request's images are sent: the shift (n, d), its reach, how named they are before, who they are there."""

    shift: Tensor
    reach: float
    named_before: float
    there: Landed


Seen = Callable[[Tensor], Landed]


@dataclass(frozen=True)
class RegionSettings:
    """How far and along what: the most clusters of a concept, the discriminant directions moved, the shift's factor.

    The discriminant's shift does not go along the first `aside` directions within modes, at most WITHIN.
    """

    modes: int
    directions: int
    reach: float
    seed: int
    aside: int = 0


def appearance_directions(modes: Modes) -> Tensor:
    """Orthonormal rows (k, d), k <= APPEARANCES: the directions in which the modes of one concept differ most.

    A concept's few looks (hair, headgear, the version of a logo) tell it from others as well as its identity does, so
    that a discriminant cannot part the two; the differences within concepts can. None where no concept has two modes.
    """
    apart = modes.centers.clone()
    for name in modes.concept.unique().tolist():
        own = modes.concept == name
        apart[own] -= apart[own].mean(0)
    sizes, rows = torch.linalg.svd(apart, full_matrices=False)[1:]
    found: Tensor = rows[sizes > PARALLEL * sizes.max().clamp(min=PARALLEL)][:APPEARANCES]
    return found


def _to_modes(target: TargetFeatures, retained: RetainedFeatures, settings: RegionSettings, near: int) -> Tensor:
    """Each own mode's mean goes to the average of its `near` nearest retained modes."""
    member, own = find_modes(target.vectors, target.concept, settings.modes, settings.seed)
    gaps = torch.cdist(own.centers, retained.modes.centers)
    chosen = gaps.topk(min(near, gaps.shape[1]), dim=1, largest=False).indices
    return settings.reach * (retained.modes.centers[chosen].mean(1) - own.centers)[member]


def nearest(target: TargetFeatures, retained: RetainedFeatures, settings: RegionSettings) -> Tensor:
    """The mean of each of the concept's modes goes to the nearest retained mode; what varies within it stays."""
    return _to_modes(target, retained, settings, 1)


def neighbours(target: TargetFeatures, retained: RetainedFeatures, settings: RegionSettings) -> Tensor:
    """As `nearest`, to the average of the four nearest retained modes."""
    return _to_modes(target, retained, settings, NEIGHBOURS)


def mean(target: TargetFeatures, retained: RetainedFeatures, settings: RegionSettings) -> Tensor:
    """The mean of each of the concept's modes goes to the mean of everything retained."""
    member, own = find_modes(target.vectors, target.concept, settings.modes, settings.seed)
    return settings.reach * (retained.mean - own.centers)[member]


def random(target: TargetFeatures, retained: RetainedFeatures, settings: RegionSettings) -> Tensor:
    """Every image goes to the centre of a retained mode drawn at random."""
    generator = torch.Generator().manual_seed(settings.seed)
    chosen = torch.randint(len(retained.modes.centers), (len(target.vectors),), generator=generator)
    return settings.reach * (retained.modes.centers[chosen] - target.vectors)


def discriminant(target: TargetFeatures, retained: RetainedFeatures, settings: RegionSettings) -> Tensor:
    """Moves only what tells concepts apart, towards the mean of a third of the retained concepts.

    The shift goes along the leading discriminant directions, which are uncorrelated with what varies within a concept
    (scene, pose). Its parts along `appearance_directions`, and along the strongest directions within concepts, are
    taken out, so that the language model still reads those. Concepts are sorted by their distance from the target. The
    goal is the mean of the middle third, at their mean distance: nobody in particular, and far from the target.
    """

    def goal(own: Tensor, concepts: Tensor) -> Tensor:
        gaps = (concepts - own).norm(dim=1)
        middle, half = len(gaps) // 2, len(gaps) // 6
        chosen = gaps.argsort()[middle - half : middle + half + 1]
        towards = concepts[chosen].mean(0) - own
        found: Tensor = own + towards * gaps[chosen].mean() / towards.norm().clamp(min=1e-12)
        return found

    return _along_patterns(target, retained, settings, goal)


def concept(target: TargetFeatures, retained: RetainedFeatures, settings: RegionSettings) -> Tensor:
    """As `discriminant`, to the one retained concept at the median distance; a nearer one could be mistaken for it."""

    def goal(own: Tensor, concepts: Tensor) -> Tensor:
        order = (concepts - own).norm(dim=1).argsort()
        found: Tensor = concepts[order[len(order) // 2]]
        return found

    return _along_patterns(target, retained, settings, goal)


def _along_patterns(
    target: TargetFeatures,
    retained: RetainedFeatures,
    settings: RegionSettings,
    goal: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """The shift of each concept to where `goal` sends its mean, given those of the retained ones, in coordinates."""
    basis, count = retained.discriminant, settings.directions
    both = torch.cat([appearance_directions(retained.modes), retained.within[: settings.aside]])
    sizes, rows = torch.linalg.svd(both, full_matrices=False)[1:]
    aside = rows[sizes > PARALLEL]
    patterns = basis.patterns[:count] - basis.patterns[:count] @ aside.T @ aside
    shift = torch.empty_like(target.vectors)
    for name in target.concept.unique().tolist():
        own = target.concept == name
        mean = basis.coordinates(target.vectors[own]).mean(0)[:count]
        shift[own] = (goal(mean, basis.concepts[:, :count]) - mean) @ patterns
    return settings.reach * shift


AUTO, UNASKED = "auto", "discriminant"  # what is taken where the model is asked, and where not
Region = Callable[[TargetFeatures, RetainedFeatures, RegionSettings], Tensor]
REGIONS: dict[str, Region] = {
    "discriminant": discriminant,
    "concept": concept,
    "nearest": nearest,
    "neighbours": neighbours,
    "mean": mean,
    "random": random,
}


def region(name: str) -> Region:
    """The region of that name. Raises InputError for an unknown one."""
    if name == AUTO:
        return REGIONS[UNASKED]
    if name not in REGIONS:
        raise unknown("region", name, (AUTO, *REGIONS))
    return REGIONS[name]


def belonging(vectors: Tensor, concept: Tensor, target: TargetFeatures, retained: RetainedFeatures) -> Tensor:
    """For each image (n,) in [0, 1]: how far vectors (n, d) still are of the target concept given for it.

    The posterior of a nearest-mean classifier in discriminant coordinates over the retained concepts and those of
    `target`, read on reference features; SOFTNESS widens its Gaussians. It stands in for the language model's reading,
    which training never runs.
    """
    basis = retained.discriminant
    originals = basis.coordinates(target.vectors)
    names = target.concept.unique()
    means = torch.stack([originals[target.concept == name].mean(0) for name in names])
    gaps = torch.cdist(basis.coordinates(vectors), torch.cat([means, basis.concepts]))
    share = torch.softmax(-gaps.square() / (2 * SOFTNESS), dim=1)
    return share.gather(1, torch.searchsorted(names, concept)[:, None])[:, 0]


def valid_shift(
    name: str, own: TargetFeatures, retained: RetainedFeatures, settings: RegionSettings, seen: Seen
) -> Sent:
    """The shift of a region from which the images are no longer named, by what is `seen` of them there.

    Nor are they at ENOUGH of the way, because other photos of the same concept go that far alone. The reach grows until
    that holds, or MOST_REACH is passed. Raises InputError for an unknown region.
    """
    before = seen(torch.zeros_like(own.vectors))
    while True:
        shift = region(name)(own, retained, settings)
        if seen(ENOUGH * shift).named < NAMED or settings.reach * GROW > MOST_REACH:
            return Sent(shift, settings.reach, before.named, seen(shift))
        settings = replace(settings, reach=settings.reach * GROW)
