"""How much of a text another one shares, word by word: ROUGE and BLEU."""

import math
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from unsee.metrics.stem import stem

ORDER, LITTLE = 4, 0.1  # longest n-grams of BLEU; what stands for no match


@dataclass(frozen=True)
class Overlap:
    """Shares of the answer, of the reference, and their harmonic mean, each in [0, 1]; higher is more alike."""

    precision: float
    recall: float
    f: float


def words(text: str) -> list[str]:
    """Lower-case words of letters a to z and digits; longer ones than three letters by their stem, as rouge-score."""
    return [stem(word) if len(word) > 3 else word for word in re.findall("[a-z0-9]+", text.lower())]


def rouge_n(answer: str, reference: str, n: int) -> Overlap:
    """ROUGE-N of stemmed words. Source: Lin (2004); the same as rouge-score with the stemmer on."""
    one, other = _grams(words(answer), n), _grams(words(reference), n)
    return _overlap((one & other).total(), one.total(), other.total())


def rouge_l(answer: str, reference: str) -> Overlap:
    """ROUGE-L: the longest common subsequence of stemmed words. Source: Lin (2004), section 3; as rouge-score."""
    one, other = words(answer), words(reference)
    return _overlap(_common(one, other), len(one), len(other))


def bleu(answer: str, reference: str) -> float:
    """BLEU-4 of one answer in [0, 1], split at white space; higher is more alike.

    Source: Papineni et al. (2002), with the first smoothing of Chen and Cherry (2014), which MLLMU-Bench takes from
    nltk: an order without a match counts 0.1 of one.
    """
    one, other = answer.split(), reference.split()
    if not set(one) & set(other):
        return 0.0
    found = 0.0
    for n in range(1, ORDER + 1):
        grams = _grams(one, n)
        right = (grams & _grams(other, n)).total()
        found += math.log((right or LITTLE) / max(grams.total(), 1)) / ORDER
    return math.exp(min(0.0, 1 - len(other) / len(one)) + found)


def _grams(tokens: Sequence[str], n: int) -> Counter[Hashable]:
    return Counter(tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))


def _overlap(common: int, of_answer: int, of_reference: int) -> Overlap:
    precision, recall = common / max(of_answer, 1), common / max(of_reference, 1)
    return Overlap(precision, recall, 2 * precision * recall / (precision + recall) if common else 0.0)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    row = [0] * (len(other) + 1)
    for word in one:
        above, row = row, [0]
        for place, mate in enumerate(other):
            row.append(above[place] + 1 if word == mate else max(above[place + 1], row[place]))
    return row[-1]
