"""What a session remembers of images: the retained statistics, less forgotten targets, and a guard on those."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unsee.errors import InputError
from unsee.linalg.gram import Gram
from unsee.moments import Moments
from unsee.regions import Modes


@dataclass(frozen=True, eq=False)
class State:
    """Moments of the retained images on the model before any request, and the guard.

    The guard is the Gram, for each layer that has one in the moments, of what the images of forgotten targets put into
    it on the model right after their request: later edits are to leave that alone.
    """

    retained: Moments
    guard: Mapping[str, Gram]

    def confining(self, weight: float) -> Moments:
        """The retained moments with the guard's vectors counted `weight` times among the retained ones; 0 for none."""
        if not weight or not self.guard:
            return self.retained
        return replace(self.retained, grams=_Sums(self.retained.grams, self.guard, weight))

    def guarded(self, grams: Mapping[str, Gram]) -> "State":
        """With the Grams of one more target in the guard."""
        return replace(self, guard=_Sums(grams, self.guard, 1.0) if self.guard else grams)

    def without(self, hashes: tuple[str, ...], vectors: Tensor, grams: Mapping[str, Gram]) -> "State":
        """Without retained images of these hashes; vectors (n, d) and Grams are of those, before any request.

        Grams, sums by concept and the mean are then what they would be had the images never been counted, up to
        rounding. What only sets units stays: the spreads, and the basis of the sums. Raises InputError where fewer than
        two concepts would be left.
        """
        known, moments = {digest: place for place, digest in enumerate(self.retained.hashes)}, self.retained
        gone = torch.tensor([known[digest] for digest in hashes])
        left = torch.ones(moments.count, dtype=torch.bool).index_fill_(0, gone, value=False)
        scatter = moments.scatter.without(vectors, moments.concept[gone])
        if int((scatter.counts > 0).sum()) < 2:
            raise InputError(
                "fewer than two retained concepts would be left; make a session with more retained images."
            )
        features, modes = moments.features, moments.features.modes
        total = features.mean.double() * moments.count - vectors.double().sum(0)
        there = scatter.counts[modes.concept] > 0
        return replace(
            self,
            retained=replace(
                moments,
                grams=_Differences(moments.grams, grams),
                features=replace(
                    features,
                    mean=(total / int(left.sum())).float(),
                    modes=Modes(modes.centers[there], modes.concept[there]),
                    discriminant=scatter.discriminant(),
                ),
                scatter=scatter,
                hashes=tuple(digest for digest, kept in zip(moments.hashes, left.tolist(), strict=True) if kept),
                concept=moments.concept[left],
            ),
        )


class _Sums(Mapping[str, Gram]):
    """One layer's Gram at a time: that of `first`, and of `other` times a weight."""

    def __init__(self, first: Mapping[str, Gram], other: Mapping[str, Gram], weight: float) -> None:
        self.first, self.other, self.weight = first, other, weight

    def __getitem__(self, name: str) -> Gram:
        return self.first[name] + self.other[name].weighted(self.weight)

    def __iter__(self) -> Iterator[str]:
        return iter(self.first)

    def __len__(self) -> int:
        return len(self.first)


class _Differences(Mapping[str, Gram]):
    """One layer's Gram at a time: that of `whole` less that of `part`."""

    def __init__(self, whole: Mapping[str, Gram], part: Mapping[str, Gram]) -> None:
        self.whole, self.part = whole, part

    def __getitem__(self, name: str) -> Gram:
        return self.whole[name] - self.part[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole)

    def __len__(self) -> int:
        return len(self.whole)
