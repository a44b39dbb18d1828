"""What a session remembers of images: the retained statistics, less forgotten targets, and a guard on those."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unsee.errors import InputError
from unsee.linalg.gram import Gram
from unsee.moments.modes import Modes
from unsee.moments.records import Moments


@dataclass(frozen=True, eq=False)
class State:
    """Moments of the retained images on the model before any request, and the guard.

    The guard is, for each layer that has a Gram in the moments, the sum over forgotten targets of the mean h h^T of
    what their images put into it on the model right after their request: later edits are to leave that alone. Its
    count is that of the targets.
    """

    retained: Moments
    guard: Mapping[str, Gram]

    def confining(self, weight: float) -> Moments:
        """The retained moments with the guard, `weight` times; 0 for none."""
        if not weight or not self.guard:
            return self.retained
        return replace(self.retained, guard=_Each(self.guard, lambda name: self.guard[name].weighted(weight)))

    def guarded(self, grams: Mapping[str, Gram]) -> "State":
        """With one more target, whose images put these Grams into the layers, in the guard."""

        def mean(name: str) -> Gram:
            gram = grams[name]
            return gram.weighted(1 / gram.count)

        before = self.guard
        return replace(self, guard=_Each(grams, lambda name: mean(name) + before[name] if before else mean(name)))

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
                grams=_Each(moments.grams, lambda name: moments.grams[name] - grams[name]),
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


class _Each(Mapping[str, Gram]):
    """Grams that are made, one layer at a time, when they are asked for."""

    def __init__(self, names: Iterable[str], make: Callable[[str], Gram]) -> None:
        self._names, self._make = dict.fromkeys(names), make

    def __getitem__(self, name: str) -> Gram:
        if name not in self._names:
            raise KeyError(name)
        return self._make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
