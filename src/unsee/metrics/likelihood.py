"""Scores of how likely a model finds answers; log-likelihoods are natural logarithms, at most 0."""

import math
from collections.abc import Sequence
from statistics import geometric_mean


def truth_ratio(right: float, wrong: Sequence[float]) -> float:
    """Geometric mean of the probabilities of wrong answers by that of a paraphrase of the right one; 0 or more.

    Each by its length. Below 1 the right answer is preferred; a model that never learnt it is near 1. Infinite where
    the right one is impossible. Source: TOFU (Maini et al. 2024), equation 1, with the geometric mean that its code
    and those of CLEAR and FIUBench have in the place of the arithmetic one. Raises ValueError without a wrong answer.
    """
    if not wrong:
        raise ValueError("a truth ratio needs wrong answers")
    if not right:
        return math.inf
    return geometric_mean(wrong) / right if min(wrong) > 0 else 0.0


def truth_share(right: float, wrong: Sequence[float]) -> float:
    """R / (1 + R) of the truth ratio R, in [0, 1]: 0 where the right answer is certain, a half where it is as likely.

    It rises with R, so that tests of ranks such as Kolmogorov-Smirnov's say the same of both (ours). Raises ValueError
    without a wrong answer.
    """
    ratio = truth_ratio(right, wrong)
    return 1.0 if math.isinf(ratio) else ratio / (1 + ratio)


def preference(right: float, wrong: Sequence[float]) -> float:
    """Probability of the right answer among all given, each by its length; in [0, 1], higher means more is known.

    Source: TOFU (Maini et al. 2024), for real authors and world facts. Chance is 1 / their number, which it also is
    where all are impossible.
    """
    total = right + sum(wrong)
    return right / total if total else 1 / (1 + len(wrong))
