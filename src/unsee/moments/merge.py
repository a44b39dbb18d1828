"""Moments of several sets of photos as those of all of them: sums are added."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch

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

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts[0])

    def __len__(self) -> int:
        return len(self._parts[0])


def merged(parts: Sequence[Moments], names: Sequence[str]) -> Moments:
    """The moments of all photos, of parts that are called by these names in errors; no concept may be in two of them.

    Grams, sums by concept, means and modes are those of one pass over all photos that is described as the first part
    is. Raises InputError for parts of different models or layers, or described differently, and for a photo in two.
    """
    first = parts[0]
    for part, name in zip(parts[1:], names[1:], strict=True):
        _check(first, part, names[0], name)
    seen: dict[str, str] = {}
    for part, name in zip(parts, names, strict=True):
        for digest in part.hashes:
            if seen.setdefault(digest, name) != name:
                raise InputError(f"{seen[digest]} and {name} have counted the same photo; measure one without it.")
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + len(part.scatter.counts))
    concept = torch.cat(
        [torch.where(part.concept < 0, -1, part.concept + start) for part, start in zip(parts, starts, strict=False)]
    )
    described = [int((part.concept >= 0).sum()) for part in parts]
    mean = sum(part.features.mean.double() * count for part, count in zip(parts, described, strict=True))
    found = _scatters([part.scatter for part in parts])
    modes = Modes(
        torch.cat([part.features.modes.centers for part in parts]),
        torch.cat(
            [part.features.modes.concept + start for part, start in zip(parts, starts, strict=False)],
        ),
    )
    return replace(
        first,
        grams=_Sums([part.grams for part in parts]),
        features=replace(
            first.features,
            mean=(torch.as_tensor(mean) / sum(described)).float(),
            modes=modes,
            discriminant=found.discriminant(),
        ),
        scatter=found,
        hashes=tuple(seen),
        concept=concept,
        states=_states(parts),
        telling=None,
    )


def _scatters(parts: Sequence[Scatter]) -> Scatter:
    return replace(
        parts[0],
        counts=torch.cat([part.counts for part in parts]),
        sums=torch.cat([part.sums for part in parts]),
        outer=torch.stack([part.outer for part in parts]).sum(0),
    )


def _states(parts: Sequence[Moments]) -> States | None:
    found = [part.states for part in parts if part.states is not None]
    if len(found) < len(parts):
        return None
    starts, concept = 0, []
    for states in found:
        concept.append(torch.where(states.concept < 0, -1, states.concept + starts))
        starts += len(states.sums.counts)
    return replace(found[0], sums=_scatters([states.sums for states in found]), concept=torch.cat(concept))


def _check(first: Moments, other: Moments, one: str, two: str) -> None:
    """Raises InputError where two moments cannot be added."""
    if first.model != other.model:
        raise InputError(f"{one} and {two} were measured on different models; measure both on the same one.")
    if first.first != other.first or set(first.grams) != set(other.grams):
        raise InputError(f"{one} and {two} are of different layers; measure both with or without --all-layers.")
    own, its = first.features.layout, other.features.layout
    same = (own.shapes, own.scales, own.pooled) == (its.shapes, its.scales, its.pooled)
    pairs = [
        (own.basis, its.basis),
        (first.scatter.mean, other.scatter.mean),
        (first.scatter.basis, other.scatter.basis),
    ]
    if first.states is not None and other.states is not None:
        pairs.append((first.states.sums.basis, other.states.sums.basis))
    if not same or not all(a is b or (a is not None and b is not None and torch.equal(a, b)) for a, b in pairs):
        raise InputError(f"{one} and {two} describe photos differently; measure {two} again with --like {one}.")
