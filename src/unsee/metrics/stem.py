"""English word stems, so that "walks" and "walking" count as one word in ROUGE.

Source: Porter (1980), with the departures that nltk's `PorterStemmer` makes by default, because rouge-score and with it
every published ROUGE uses that one; a test compares both over the words of a fixed text.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

VOWELS = "aeiou"
IRREGULAR = {
    "skies": "sky", "sky": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news", "innings": "inning",
    "inning": "inning", "outings": "outing", "outing": "outing", "cannings": "canning", "canning": "canning",
    "howe": "howe", "proceed": "proceed", "exceed": "exceed", "succeed": "succeed",
}  # fmt: skip
STEP_2 = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("bli", "ble"),
    ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"),
    ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"),
    ("iviti", "ive"), ("biliti", "ble"), ("fulli", "ful"),
)  # fmt: skip
STEP_3 = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
)  # fmt: skip
STEP_4 = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
    "ous", "ive", "ize",
)  # fmt: skip


def stem(word: str) -> str:
    """The stem of a word in lower case."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) <= 2:
        return word
    word = _past(_plural(word))
    if word.endswith("y") and len(word) > 2 and _consonant(word, len(word) - 2):
        word = word[:-1] + "i"
    word = _ends(_derived(word), STEP_3, lambda before: _measure(before) > 0)
    return _final(_suffix(word))


def _consonant(word: str, place: int) -> bool:
    if word[place] == "y":
        return place == 0 or not _consonant(word, place - 1)
    return word[place] not in VOWELS


def _measure(word: str) -> int:
    """How often a vowel is followed by a consonant."""
    kinds = [_consonant(word, place) for place in range(len(word))]
    return sum(not one and other for one, other in pairwise(kinds))


def _short(word: str) -> bool:
    """Whether it ends in consonant, vowel, consonant but w, x and y; or is a vowel and a consonant."""
    kinds = [_consonant(word, place) for place in range(len(word))]
    return (kinds[-3:] == [True, False, True] and word[-1] not in "wxy") or kinds == [False, True]


def _ends(word: str, rules: Sequence[tuple[str, str]], holds: Callable[[str], bool]) -> str:
    """The word with the first of these endings replaced, if the condition holds for what stands before it."""
    for ending, other in rules:
        if word.endswith(ending):
            before = word[: len(word) - len(ending)]
            return before + other if holds(before) else word
    return word


def _plural(word: str) -> str:
    if word.endswith("ies") and len(word) == 4:
        return word[:-1]
    return _ends(word, (("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")), lambda _: True)


def _past(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        before = word.removesuffix(ending)
        if before != word and not all(_consonant(before, place) for place in range(len(before))):
            break
    else:
        return word
    if before.endswith(("at", "bl", "iz")):
        return before + "e"
    if len(before) > 1 and before[-1] == before[-2] and _consonant(before, len(before) - 1):
        return before if before[-1] in "lsz" else before[:-1]
    return before + "e" if _measure(before) == 1 and _short(before) else before


def _derived(word: str) -> str:
    if word.endswith("alli") and _measure(word[:-4]) > 0:
        return _derived(word[:-2])
    if word.endswith("logi") and not word.endswith(tuple(ending for ending, _ in STEP_2)):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _ends(word, STEP_2, lambda before: _measure(before) > 0)


def _suffix(word: str) -> str:
    for ending in STEP_4:
        if word.endswith(ending):
            before = word[: len(word) - len(ending)]
            gone = _measure(before) > 1 and (ending != "ion" or before[-1] in "st")
            return before if gone else word
    return word


def _final(word: str) -> str:
    if word.endswith("e"):
        before = word[:-1]
        if _measure(before) > 1 or (_measure(before) == 1 and not _short(before)):
            word = before
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
