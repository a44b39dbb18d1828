"""What a session remembers of images: the retained statistics, less forgotten targets, and a guard on those."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from unsee.errors import InputError
from unsee.linalg.anchor import Anchor
from unsee.linalg.gram import Gram
from unsee.moments.modes import Modes
from unsee.moments.records import Moments

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class State:
    """Moments of the retained images on the model before any request, and the guard.

    The guard is, for each layer that has a Gram in the moments, the sum over forgotten targets of the mean h h^T of
    what their images put into it on the model right after their request: later edits are to leave what it gives for
    that alone. Its count is that of the targets. The anchors say, for each layer that a request has moved, what it gave
    right after each target's request; a layer without one is still what it was.
    """

    retained: Moments
    guard: Mapping[str, Gram]
    anchors: Mapping[str, Anchor]

    def confining(self, weight: float) -> Moments:
        """The retained moments with the guard, `weight` times; 0 for none."""
        if not weight or not self.guard:
            return self.retained
        return replace(
            self.retained,
            guard=_Each(self.guard, lambda name: self.guard[name].weighted(weight)),
            anchors=_Each(self.anchors, lambda name: self.anchors[name].weighted(weight)),
        )

    def guarded(self, grams: Mapping[str, Gram], before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> "State":
        """With one more target, whose images put these Grams into the layers, in the guard.

        `before` and `after` are the weights (d_out, d_in), by layer, that the request which made the target be
        forgotten began and ended with; those of a layer that no request has moved may be left out.
        """

        def mean(name: str) -> Gram:
            gram = grams[name]
            return gram.weighted(1 / gram.count)

        guard, anchors, first = self.guard, self.anchors, self.retained.first
        moved = [name for name in first if name in after or name in anchors]

        def anchor(name: str) -> Anchor:
            now = Anchor.of(after[name], mean(first[name]))
            if name in anchors:
                return anchors[name] + now
            return Anchor.of(before[name], guard[first[name]]) + now if guard else now

        return replace(
            self,
            guard=_Each(grams, lambda name: mean(name) + guard[name] if guard else mean(name)),
            anchors=_Each(moved, anchor),
        )

    def without(
        self, hashes: tuple[str, ...], vectors: Tensor, grams: Mapping[str, Gram], states: Tensor | None = None
    ) -> "State":
        """Without retained images of these hashes; vectors (n, d), Grams and states are of those, before any request.

        The hash of an image that was counted twice stands there twice.
        Grams, sums by concept and the mean are then what they would be had the images never been counted, up to
        rounding. What only sets units stays: the spreads, and the basis of the sums. Where the images have no `states`
        (n, token, width), those that are known go altogether. Raises InputError where fewer than two concepts would be
        left.
        """
        places, moments = dict[str, list[int]](), self.retained
        for place, digest in enumerate(moments.hashes):
            places.setdefault(digest, []).append(place)
        gone = torch.tensor([places[digest].pop() for digest in hashes])
        left = torch.ones(moments.count, dtype=torch.bool).index_fill_(0, gone, value=False)
        described = moments.concept[gone] >= 0  # of many photos, only some say what features are like
        scatter = moments.scatter.without(vectors[described], moments.concept[gone][described])
        if int((scatter.counts > 0).sum()) < 2:
            raise InputError(
                "fewer than two retained concepts would be left; make a session with more retained images."
            )
        features, modes = moments.features, moments.features.modes
        known_by = moments.concept >= 0
        total = features.mean.double() * int(known_by.sum()) - vectors[described].double().sum(0)
        there = scatter.counts[modes.concept] > 0
        drawn = None if moments.states is None or states is None else moments.states.without(states, gone, left)
        return replace(
            self,
            retained=replace(
                moments,
                grams=_Each(moments.grams, lambda name: moments.grams[name] - grams[name]),
                features=replace(
                    features,
                    mean=(total / int((known_by & left).sum())).float(),
                    modes=Modes(modes.centers[there], modes.concept[there]),
                    discriminant=scatter.discriminant(),
                ),
                scatter=scatter,
                hashes=tuple(digest for digest, kept in zip(moments.hashes, left.tolist(), strict=True) if kept),
                concept=moments.concept[left],
                states=drawn,
            ),
        )


class _Each(Mapping[str, Value]):
    """Values that are made, one layer at a time, when they are asked for."""

    def __init__(self, names: Iterable[str], make: Callable[[str], Value]) -> None:
        self._names, self._make = dict.fromkeys(names), make

    def __getitem__(self, name: str) -> Value:
        if name not in self._names:
            raise KeyError(name)
        return self._make(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names  # without making it

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
