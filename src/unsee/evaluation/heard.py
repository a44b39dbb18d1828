"""What a model said about a request's photos, and what of that names whom they show."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from unsee.metrics.same import agreed, common_words, says
from unsee.records import Sample

USED, ASIDE, SHOWN, UNSHOWN = GROUPS = ("used", "aside", "shown", "unshown")
SETTLED = 0.5  # share of a concept's photos that must get one answer for it to be that of all of them


@dataclass(frozen=True, eq=False)
class Heard:
    """What a model said to one question about the photos of each group, in their order.

    With `by_name` the right answer about a photo is the name of its concept, as of folders that are called after whom
    they show; of others only where they are sorted into concepts. `nobody` is what the model says of whom it does not
    know, where that was found.
    """

    question: str
    photos: Mapping[str, list[Sample]]
    said: Mapping[str, list[str]]
    by_name: bool = False
    nobody: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError where photos and answers do not fit."""
        if any(len(self.photos[group]) != len(self.said[group]) for group in GROUPS):
            raise ValueError("each photo needs one answer")

    @cached_property
    def common(self) -> frozenset[str]:
        """Words that the model says of everybody."""
        return common_words([answer for group in (SHOWN, UNSHOWN) for answer in self.said[group]])

    def answers(self, groups: Sequence[str]) -> dict[str, str]:
        """By concept, what names it in the answers that its photos in these groups get: see `agreed`.

        Its own name where that is the right answer.
        """
        if (known := self._answers.get(tuple(groups))) is not None:
            return known
        concepts = dict.fromkeys(sample.concept for group in groups for sample in self.photos[group])
        if self.by_name and (len(concepts) > 1 or set(groups) <= {USED, ASIDE}):
            found = {concept: re.sub(r"[_\-]+", " ", concept) for concept in sorted(concepts)}
        else:
            found = {concept: self._name(concept, groups) for concept in concepts}
        return self._answers.setdefault(tuple(groups), found)

    @cached_property
    def _answers(self) -> dict[tuple[str, ...], dict[str, str]]:
        return {}

    def _name(self, concept: str, groups: Sequence[str]) -> str:
        others = [
            said
            for group in GROUPS
            for sample, said in zip(self.photos[group], self.said[group], strict=True)
            if sample.concept != concept or group not in groups
        ]
        return agreed(self.of(concept, groups), others, self.common)

    def of(self, concept: str, groups: Sequence[str]) -> list[str]:
        """What a concept's photos in these groups get."""
        return [
            said
            for group in groups
            for sample, said in zip(self.photos[group], self.said[group], strict=True)
            if sample.concept == concept
        ]

    def share(self, concept: str, answer: str, groups: Sequence[str]) -> float:
        """Of a concept's photos in these groups, how many get this answer; in [0, 1]."""
        own = self.of(concept, groups)
        return sum(says(said, answer, self.common) for said in own) / max(1, len(own))

    def expected(self, group: str) -> list[str]:
        """What each of others' photos in a group is to be answered: what most of its concept get, if half of them do.

        Else, as where photos are not sorted into concepts, its own answer.
        """
        both, found = (SHOWN, UNSHOWN), list[str]()
        names = self.answers(both)
        sure = {concept: self.by_name or self.share(concept, names[concept], both) >= SETTLED for concept in names}
        for sample, said in zip(self.photos[group], self.said[group], strict=True):
            found.append(names[sample.concept] if sure[sample.concept] else said)
        return found

    def without(self, gone: Callable[[Sample], bool]) -> "Heard":
        """Without the others that are to go."""
        keep = {
            group: [
                place for place, sample in enumerate(self.photos[group]) if group in (USED, ASIDE) or not gone(sample)
            ]
            for group in GROUPS
        }
        return replace(
            self,
            photos={group: [self.photos[group][i] for i in places] for group, places in keep.items()},
            said={group: [self.said[group][i] for i in places] for group, places in keep.items()},
        )
