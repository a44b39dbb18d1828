"""How well a description of images tells concepts apart on images that it was not fitted to; how stiff it should be."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from unsee.linalg.discriminant import Scatter, scatter

FOLDS, TINY = 4, 1e-12  # TINY: a variance where nothing varies
RIDGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Telling:
    """How well concepts are told apart: the cross-entropy in nats, and the share of images that are told right."""

    loss: float
    right: float
    ridge: float


def cross_validated(found: Scatter, vectors: Tensor, concept: Tensor) -> Telling:
    """The best of RIDGES for `found`, the scatter of vectors (n, d) with concepts (n,), and how well it tells.

    The images of each concept are dealt into folds. Those of each fold are told by their distances, in discriminant
    coordinates of the others, to the means of the others: a Gaussian of variance 1 about each. Too small a ridge finds
    directions that the next photo does not follow, so that it is farther from the mean than the variance says; the best
    ridge is the one with which it is as far as that. Concepts with a single image do not count. With too few to say
    anything, the ridge of `found`, and an infinite loss.
    """
    reduced, place = found.reduced(vectors), torch.full_like(concept, -1)
    for name in concept.unique().tolist():
        own = torch.where(concept == name)[0]
        if len(own) > 1:
            place[own] = torch.arange(len(own)) % FOLDS
    losses, right, asked = dict.fromkeys(RIDGES, 0.0), dict.fromkeys(RIDGES, 0), 0
    variance = dict.fromkeys(RIDGES, 0.0)
    for fold in range(FOLDS):
        out = place == fold
        kept = concept[~out].unique()
        if not out.any() or len(kept) < 2 or len(kept) == int((~out).sum()):
            continue  # nobody is left out, or nothing says what varies within a concept
        rest = scatter(reduced[~out], concept[~out])
        expected = torch.searchsorted(kept, concept[out])
        asked += len(expected)
        for ridge in RIDGES:
            basis = replace(rest, ridge=torch.tensor(ridge, dtype=torch.float64)).discriminant()
            gaps = torch.cdist(basis.coordinates(reduced[out].float()), basis.concepts).square()
            variance[ridge] += gaps.gather(1, expected[:, None]).sum().item() / basis.concepts.shape[1]
            near = -gaps / 2
            losses[ridge] += F.cross_entropy(near, expected, reduction="sum").item()
            right[ridge] += int((near.argmax(1) == expected).sum())
    if not asked:
        return Telling(float("inf"), 0.0, float(found.ridge))
    best = min(RIDGES, key=lambda ridge: abs(math.log(max(variance[ridge] / asked, TINY))))
    return Telling(losses[best] / asked, right[best] / asked, best)
