"""Whether two answers in own words say the same, by the words that only few answers have."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache

from unsee.metrics.normal import normal

COMMON = 0.2  # a word that so many of all answers have says nothing


@lru_cache(maxsize=4096)  # the same few answers are compared with each other again and again
def words(answer: str) -> tuple[str, ...]:
    """The words of an answer in order, without punctuation, however they are written; see `normal`."""
    return tuple(re.findall(r"\w+", normal(answer)))


def common_words(answers: Sequence[str]) -> frozenset[str]:
    """The words that more than a fifth of different answers have: what a model says of everybody."""
    different = {words(answer) for answer in answers}
    counts = Counter(word for answer in different for word in set(answer))
    return frozenset(word for word, count in counts.items() if count > COMMON * len(different) and count > 1)


def says(answer: str, expected: str, common: Collection[str] = ()) -> bool:
    """Whether an answer has every word of the expected one that is not common; all of them where all are common."""
    wanted = set(words(expected))
    found = set(words(answer))
    own = wanted - set(common)
    return (own or wanted) <= found and bool(wanted)


def telling(answer: str, common: Collection[str]) -> str:
    """An answer without its common words; as it is where it has no other."""
    kept = [part for part in answer.split() if not set(words(part)) <= set(common)]
    return " ".join(kept) or answer
