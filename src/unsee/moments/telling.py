"""How well a description of images tells concepts apart that it was not fitted to."""

import torch
from torch import Tensor

from unsee.linalg.discriminant import scatter

FOLDS = 4


def told_apart(vectors: Tensor, concept: Tensor, folds: int = FOLDS) -> float:
    """Share of images (n, d), in [0, 1], whose concept (n,) is the nearest; each is left out of the concepts' means.

    The images of each concept are dealt into folds. Of each fold the concept is guessed by the nearest mean in
    discriminant coordinates of the others: a stand-in for the language model's reading where that cannot be asked.
    Concepts with fewer than two images do not count; 0 where there are no two others.
    """
    place = torch.zeros_like(concept)
    for name in concept.unique().tolist():
        own = torch.where(concept == name)[0]
        place[own] = torch.arange(len(own)) % folds if len(own) > 1 else -1
    right, asked = 0, 0
    for fold in range(folds):
        out = place == fold
        kept = concept[~out].unique()
        if not out.any() or len(kept) < 2:
            continue
        basis = scatter(vectors[~out], concept[~out]).discriminant()
        guess = kept[torch.cdist(basis.coordinates(vectors[out]), basis.concepts).argmin(1)]
        right += int((guess == concept[out]).sum())
        asked += int(out.sum())
    return right / asked if asked else 0.0
