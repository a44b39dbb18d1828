"""Photos that are kept out of training, to see afterwards what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from unsee.records import Sample

SHARE, SHARE_OTHERS = 5, 6  # one in so many photos of a target, and one in so many others, are kept out
FEWEST = 2  # photos of a target that are set aside where it has twice as many
MOST_CONCEPTS, MOST_PHOTOS = 10, 120  # others that are not shown, at most: so many suffice to measure


@dataclass(frozen=True, eq=False)
class Divided:
    """A request's photos: those `used` and those set `aside`; of others those `shown`, and all of those `unshown`."""

    used: list[Sample]
    aside: list[Sample]
    shown: list[Sample]
    unshown: list[Sample]


def divided(target: Sequence[Sample], retained: Sequence[Sample], seed: int) -> Divided:
    """Sets aside a fifth of each target concept's photos, at least two of four, and a sixth of the retained concepts.

    At most MOST_CONCEPTS of these and MOST_PHOTOS photos are not shown. Of two or three photos one is set aside, of a
    single one none. Of fewer than six retained concepts, and of retained photos that are not sorted into concepts, a
    sixth of the photos is not shown; of fewer than twelve photos none.
    """
    draw = Random(f"aside/{seed}")
    wanted = [_pictures(own) for own in _by_concept(target).values()]
    aside = {picture for own in wanted for picture in draw.sample(own, _set_aside(len(own)))}
    unshown = {sample.picture for sample in _unshown(retained, draw)}
    return Divided(
        used=[sample for sample in target if sample.picture not in aside],
        aside=[sample for sample in target if sample.picture in aside],
        shown=[sample for sample in retained if sample.picture not in unshown],
        unshown=[sample for sample in retained if sample.picture in unshown],
    )


def _pictures(samples: Sequence[Sample]) -> list[Path | int]:
    """The photos that samples are about, each once."""
    return list(dict.fromkeys(sample.picture for sample in samples))


def _by_concept(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.concept, []).append(sample)
    return found


def _set_aside(photos: int) -> int:
    if photos < 2:
        return 0
    return max(FEWEST, photos // SHARE) if photos >= 2 * FEWEST else 1


def _unshown(retained: Sequence[Sample], draw: Random) -> list[Sample]:
    concepts = _by_concept(retained)
    if SHARE_OTHERS <= len(concepts) < len(retained):
        names = draw.sample(sorted(concepts), min(MOST_CONCEPTS, len(concepts) // SHARE_OTHERS))
        return [sample for name in names for sample in concepts[name]]
    if len(retained) < 2 * SHARE_OTHERS:
        return []
    return draw.sample(list(retained), min(MOST_PHOTOS, len(retained) // SHARE_OTHERS))
