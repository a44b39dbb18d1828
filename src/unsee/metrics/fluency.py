"""Whether a text reads like one: what repeats itself has few different sequences of words."""

import math
import re
from collections import Counter

ORDERS = {2: 2 / 3, 3: 4 / 3}  # weights of two and of three words in a row


def fluency(text: str) -> float | None:
    """Mean entropy of sequences of two and three words, weighed 2/3 and 4/3, in bits; 0 or more, higher repeats less.

    None for a text of fewer than three words. It grows with the length of a text, so that only answers to the same
    questions can be compared. Source: "generation entropy" of ROME (Meng et al. 2022), its weights as in its code;
    words and signs are split by a model of nltk there, at white space and between both here.
    """
    words = re.findall(r"\w+|[^\w\s]+", text)
    if len(words) < max(ORDERS):
        return None
    return sum(weight * _entropy(words, n) for n, weight in ORDERS.items()) / len(ORDERS)


def _entropy(words: list[str], n: int) -> float:
    counts = Counter(tuple(words[start : start + n]) for start in range(len(words) - n + 1)).values()
    total = sum(counts)
    return -sum(count / total * math.log2(count / total) for count in counts)
