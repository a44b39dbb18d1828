"""Accuracy with an interval over concepts, and the figures derived from it."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import bootstrap

from unsee.metrics.normal import normal

RESAMPLES = 2000


def exact_match(answer: str, expected: str) -> bool:
    """Whether two answers are the same but for how they are written; see `normal`."""
    return normal(answer) == normal(expected)


def accuracy(correct: Sequence[float], cluster: Sequence[str], seed: int = 0) -> tuple[float, tuple[float, float]]:
    """Share of correct answers in [0, 1] (higher means more is known) and its 95 % percentile bootstrap interval.

    An answer may be right in part, as a number in [0, 1].
    Whole clusters are drawn, not questions: the questions about one person stand or fall together. Give photos as
    clusters where there is one person. Where all clusters are alike nothing varies in what is drawn, and the interval
    is as `widened` says. With a single cluster it is undefined, and (0, 1) is returned. Raises ValueError without any
    answer.
    """
    if not correct:
        raise ValueError("accuracy of no answers is undefined")
    names = sorted(set(cluster))
    at = {name: index for index, name in enumerate(names)}
    right, total = np.zeros(len(names)), np.zeros(len(names))
    for good, name in zip(correct, cluster, strict=True):
        right[at[name]] += good
        total[at[name]] += 1
    value = float(right.sum() / total.sum())
    if len(names) < 2:
        return value, (0.0, 1.0)
    interval = bootstrap(
        (right, total),
        lambda r, t, axis: r.sum(axis) / t.sum(axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return value, widened(float(interval.low), float(interval.high), len(names))


def widened(low: float, high: float, count: int) -> tuple[float, float]:
    """An interval of shares, in [-1, 1], that has a width also where all of `count` clusters were alike.

    There one more cluster may well be another: the share of such clusters that shows itself in none of so many once in
    forty. Source: Clopper and Pearson (1934) of none, or all.
    """
    if high > low:
        return low, high
    unseen = 1 - 0.025 ** (1 / count)
    return (low, low + unseen) if low <= 0 else (max(0.0, low - unseen), min(1.0, high + unseen))


def balance(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Harmonic mean of what was forgotten and what was kept, in [0, 1] for a model that only loses; higher is better.

    The terms are 1 - recognition/target, and recognition/retained, scene/target, scene/retained, appearance/target and
    text (the mean of its subsets), each of these divided by its value before, but for those that were 0; it is
    0 where all were. Source: the harmonic mean of forgetting and retention is usual in the field; this choice of terms
    is ours. Raises KeyError for a missing score.
    """

    def text(scores: Mapping[str, float]) -> float:
        return (scores["text/target"] + scores["text/retained"]) / 2

    pairs = [*((after[name], before[name]) for name in KEPT), (text(after), text(before))]
    kept = [now / first for now, first in pairs if first > 0]
    terms = [1 - after["recognition/target"], *kept]
    return 0.0 if not kept or min(terms) <= 0 else len(terms) / sum(1 / term for term in terms)


def oracle_gap(after: Mapping[str, float], oracle: Mapping[str, float]) -> float:
    """Mean absolute difference to the oracle over the scores that `balance` reads, in [0, 1]; lower is better; ours."""
    names = ["recognition/target", *KEPT, "text/target", "text/retained"]
    return sum(abs(after[name] - oracle[name]) for name in names) / len(names)


KEPT = ("recognition/retained", "scene/target", "scene/retained", "appearance/target")
