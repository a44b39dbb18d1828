"""Whether two answers in own words say the same, by the words that only few answers have."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache

from unsee.metrics.normal import normal

COMMON = 0.2  # a word that so many of all answers have says nothing
SURE = 0.9  # of how often its most frequent word is given: from which on a word belongs to a name, and not to a scene
NAME, SEVERAL = 4, 3  # words of a name, at most: more are a sentence; answers that say what they have in common
UNSPACED = re.compile(  # Thai, Lao, Tibetan, Myanmar, Khmer, kana, Han and Hangul: words, or what stands behind them,
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"  # are not apart
    "\U00020000-\U0003ffff]"
)
POINTS = re.compile("[\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06ed]")  # vowels that may be left out


@lru_cache(maxsize=4096)  # the same few answers are compared with each other again and again
def words(answer: str) -> tuple[str, ...]:
    """The words of an answer in order, without punctuation, however they are written; see `normal`.

    Of scripts that do not set words apart each sign is one, with the marks that belong to it. Points that Hebrew and
    Arabic may leave out are left out.
    """
    found, goes_on, marked = list[str](), False, False
    for sign in POINTS.sub("", normal(answer)):
        alone = UNSPACED.match(sign) is not None
        if unicodedata.category(sign).startswith("M"):
            if marked:
                found[-1] += sign
        elif sign.isalnum() or sign == "_":
            if goes_on and not alone:
                found[-1] += sign
            else:
                found.append(sign)
            goes_on, marked = not alone, True
        else:
            goes_on = marked = False
    return tuple(found)


def common_words(answers: Sequence[str]) -> frozenset[str]:
    """The words that more than a fifth of different answers have: what a model says of everybody."""
    different = {words(answer) for answer in answers}
    counts = Counter(word for answer in different for word in set(answer))
    return frozenset(word for word, count in counts.items() if count > COMMON * len(different) and count > 1)


def says(answer: str, expected: str, common: Collection[str] = ()) -> bool:
    """Whether an answer has every word of the expected one that is not common; all of them where all are common.

    Signs that stand side by side in the expected one, of a script that does not set words apart, do so in the answer.
    """
    wanted, found = words(expected), words(answer)
    own = set(wanted) - set(common) or set(wanted)
    return bool(wanted) and own <= set(found) and all(_within(run, found) for run in _runs(wanted, own))


def _runs(wanted: Sequence[str], own: Collection[str]) -> Iterator[tuple[str, ...]]:
    """What stands side by side of an answer's own signs, two or more of a script that does not set words apart."""
    run = list[str]()
    for word in (*wanted, ""):
        if word in own and UNSPACED.match(word):
            run.append(word)
            continue
        if len(run) > 1:
            yield tuple(run)
        run = []


def _within(run: tuple[str, ...], found: tuple[str, ...]) -> bool:
    return any(found[start : start + len(run)] == run for start in range(len(found) - len(run) + 1))


def only(answer: str, kept: Collection[str]) -> str:
    """An answer with these of its words alone, as they are written there where that sets them apart."""
    text = " ".join(part for part in answer.split() if words(part) and set(words(part)) <= set(kept))
    wanted = [word for word in words(answer) if word in kept]
    if set(words(text)) == set(wanted):
        return text.strip(" ,;:")
    return "".join(word if UNSPACED.match(word) else f" {word} " for word in wanted).strip()


def telling(answer: str, common: Collection[str]) -> str:
    """An answer without its common words; as it is where it has no other."""
    own = set(words(answer)) - set(common)
    return only(answer, own) if own else answer


def agreed(answers: Sequence[str], others: Sequence[str], common: Collection[str]) -> str:
    """What names one person or thing in the answers about it: the answer that most photos get, less what is no name.

    Words that not all who say so have in common are left out, as a place that some answers tell, where at least three
    answers and half of them agree on the rest. Of a sentence, so are words that two of the `others` have, answers about
    somebody else. Neither where more of the others would then say the same. Source: ours.
    """
    spelled = {words(answer): answer for answer in reversed(answers)}  # as it was written first
    most = Counter(map(words, answers)).most_common(1)[0][0]
    own, different = set(most) - set(common), {words(other) for other in others}
    times = Counter(word for answer in answers for word in set(words(answer)))
    elsewhere = Counter(word for other in different for word in set(other))

    def had(kept: set[str], by: Iterable[tuple[str, ...]]) -> int:
        return sum(kept <= set(answer) for answer in by)

    shared = [
        {word for word in own if times[word] >= SURE * least}
        for least in sorted({times[word] for word in own}, reverse=True)
    ]
    found = [kept for kept in shared if had(kept, map(words, answers)) >= max(SEVERAL, len(answers) / 2)]
    if len(most) > NAME:
        found.append({word for word in own if elsewhere[word] < 2})
    for kept in found:
        if kept and kept != own and had(kept, different) <= had(own, different):
            return only(spelled[most], kept)
    return spelled[most]
