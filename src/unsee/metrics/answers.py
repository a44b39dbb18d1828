"""Whether a free answer is right, by the words in it."""

from collections.abc import Sequence
from random import Random
from string import ascii_uppercase

from unsee.errors import InputError
from unsee.metrics.normal import normal


def contains(answer: str, expected: str) -> bool:
    """Whether the expected words occur in the answer, however they are written: a cloze. MLLMU-Bench, UMU-Bench."""
    return normal(expected) in normal(answer)


def keywords(answer: str, expected: Sequence[str]) -> float:
    """Share in [0, 1] of the keywords that occur in the answer, up to case. Source: FIUBench, "exact match".

    Raises ValueError without a keyword.
    """
    if not expected:
        raise ValueError("there are no keywords to look for")
    return sum(contains(answer, word) for word in expected) / len(expected)


def shuffled(options: Sequence[str], right: str, seed: int | str) -> tuple[list[str], str]:
    """The options in an order that `seed` gives, and the letter of the right one there; chance is 1 / their number.

    Raises InputError where the right answer is not among the options, or not once.
    """
    if list(options).count(right) != 1:
        raise InputError(f"the answer {right!r} is not one of the options {list(options)}; correct the record.")
    order = Random(seed).sample(list(options), len(options))
    return order, ascii_uppercase[order.index(right)]


def letter(answer: str, options: int) -> str | None:
    """The option that an answer chooses: its first letter, alone or before a sign; None where it is none of them.

    Other than the official code of MLLMU-Bench, which takes the first letter of any word ("Because" is B there).
    """
    first = answer.strip().lstrip("([").upper()
    if not first or first[0] not in ascii_uppercase[:options]:
        return None
    return first[0] if len(first) == 1 or not first[1].isalnum() else None
