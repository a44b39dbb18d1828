"""Moments of several sets of photos as those of all of them: sums are added."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor

from unsee.errors import InputError
from unsee.linalg.discriminant import Scatter
from unsee.linalg.gram import Gram
from unsee.moments.modes import Modes
from unsee.moments.records import Moments
from unsee.moments.states import States


class _Sums(Mapping[str, Gram]):
    """The sum of each layer's Grams, made when it is asked for."""

    def __init__(self, parts: Sequence[Mapping[str, Gram]]) -> None:
        self._parts = parts

    def __getitem__(self, name: str) -> Gram:
        first, *others = (part[name] for part in self._parts)
        return sum(others, first)

    def __contains__(self, name: object) -> bool:
        return name in self._parts[0]  # without adding up

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts[0])

    def __len__(self) -> int:
        return len(self._parts[0])


def merged(parts: Sequence[Moments], names: Sequence[str]) -> Moments:
    """The moments of all photos, of parts that are called by these names in errors.

    Grams are those of one pass over all photos. What describes features is that of all parts which describe them as the
    first does (`measure(like=)`), no concept being in two of them; of other parts the Grams alone are added. Raises
    InputError for parts of different models or layers, and for a photo that is in two.
    """
    first = parts[0]
    for part, name in zip(parts[1:], names[1:], strict=True):
        _check(first, part, names[0], name)
    seen: dict[str, int] = {}
    for place, part in enumerate(parts):
        for digest in part.hashes:
            if (other := seen.setdefault(digest, place)) != place:
                both = f"{names[other]} and {names[place]}"
                raise InputError(f"{both} have counted the same photo; measure one without it.")
    like = [part for part in parts if alike(first, part)]
    found = _scatters([part.scatter for part in like])
    starts = dict(zip(map(id, like), _starts([part.scatter for part in like]), strict=True))
    counts = [int((part.concept >= 0).sum()) for part in like]
    means = torch.stack([part.features.mean.double() * count for part, count in zip(like, counts, strict=True)])
    return replace(
        first,
        grams=_Sums([part.grams for part in parts]),
        features=replace(
            first.features,
            mean=(means.sum(0) / sum(counts)).float(),
            modes=Modes(
                torch.cat([part.features.modes.centers for part in like]),
                torch.cat([part.features.modes.concept + starts[id(part)] for part in like]),
            ),
            discriminant=found.discriminant(),
        ),
        scatter=found,
        hashes=tuple(digest for part in parts for digest in part.hashes),
        concept=torch.cat([_renumbered(part.concept, starts.get(id(part))) for part in parts]),
        states=_states(parts, like),
        telling=None,
    )


def _renumbered(concept: Tensor, start: int | None) -> Tensor:
    """Concept numbers from `start` on; -1, not described, where they were that already or nothing starts."""
    return torch.full_like(concept, -1) if start is None else torch.where(concept < 0, -1, concept + start)


def _starts(parts: Sequence[Scatter]) -> list[int]:
    """How many concepts come before those of each part."""
    return list(accumulate((len(part.counts) for part in parts[:-1]), initial=0))


def _scatters(parts: Sequence[Scatter]) -> Scatter:
    return replace(
        parts[0],
        counts=torch.cat([part.counts for part in parts]),
        sums=torch.cat([part.sums for part in parts]),
        outer=torch.stack([part.outer for part in parts]).sum(0),
    )


def _states(parts: Sequence[Moments], like: Sequence[Moments]) -> States | None:
    """The states of all parts that describe photos alike; None where one of these has none."""
    found = [part.states for part in like if part.states is not None]
    if len(found) < len(like):
        return None
    starts = dict(zip(map(id, like), _starts([states.sums for states in found]), strict=True))
    concept = [
        torch.full_like(part.concept, -1)
        if part.states is None
        else _renumbered(part.states.concept, starts.get(id(part)))
        for part in parts
    ]
    return replace(found[0], sums=_scatters([states.sums for states in found]), concept=torch.cat(concept))


def alike(one: Moments, other: Moments) -> bool:
    """Whether two moments describe features in the same coordinates, so that their sums can be added."""
    own, its = one.features.layout, other.features.layout
    pairs = [
        (own.basis, its.basis),
        (one.scatter.mean, other.scatter.mean),
        (one.scatter.basis, other.scatter.basis),
    ]
    if one.states is not None and other.states is not None:
        pairs.append((one.states.sums.basis, other.states.sums.basis))
    same = (own.shapes, own.scales, own.pooled) == (its.shapes, its.scales, its.pooled)
    return same and all(a is b or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs)


def _check(first: Moments, other: Moments, one: str, two: str) -> None:
    """Raises InputError where two moments cannot be added."""
    if first.model != other.model:
        raise InputError(f"{one} and {two} were measured on different models; measure both on the same one.")
    if first.first != other.first or set(first.grams) != set(other.grams):
        raise InputError(f"{one} and {two} are of different layers; measure both with or without --all-layers.")
