"""How sure a balance is, and the difference of two: people are drawn again, for all methods the same."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from unsee.metrics.accuracy import KEPT, RESAMPLES

TEXT = ("text/target", "text/retained")
Outcomes = Mapping[str, Mapping[str, tuple[float, int]]]  # by score/subset and concept: right answers, answers


def _shares(outcomes: Mapping[str, tuple[float, int]], resamples: int, seed: int) -> NDArray[np.float64]:
    """Share of right answers in each resample of the concepts, which depends on their number and the seed alone."""
    pairs = np.array([outcomes[name] for name in sorted(outcomes)], dtype=float)
    drawn = np.random.default_rng(seed).integers(len(pairs), size=(resamples, len(pairs)))
    right, total = pairs[drawn].sum(1).T
    shares: NDArray[np.float64] = right / total
    return shares


def balances(before: Outcomes, after: Outcomes, *, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.float64]:
    """`unsee.metrics.accuracy.balance` in each resample (resamples,) of the people.

    The same people are drawn in every call with as many people and the same seed, so that the results of two methods
    may be subtracted; those asked about for the target and those retained are drawn apart. Raises KeyError for a
    missing score.
    """

    def drawn(outcomes: Outcomes, name: str) -> NDArray[np.float64]:
        return _shares(outcomes[name], resamples, seed + (name.endswith("/retained")))

    def ratio(names: tuple[str, ...]) -> NDArray[np.float64]:
        now, then = (sum(drawn(side, name) for name in names) for side in (after, before))
        shares: NDArray[np.float64] = np.divide(now, then, out=np.full(resamples, np.nan), where=np.asarray(then) > 0)
        return shares

    kept = np.stack([*(ratio((name,)) for name in KEPT), ratio(TEXT)])
    terms = np.concatenate([1 - drawn(after, "recognition/target")[None], kept])
    counted = ~np.isnan(terms)
    nothing = ~counted[1:].any(0) | (counted & (terms <= 0)).any(0)
    with np.errstate(divide="ignore"):
        found: NDArray[np.float64] = np.where(nothing, 0.0, counted.sum(0) / np.nansum(1 / terms, 0))
    return found


def interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    """The percentile interval of 95 %."""
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(low), float(high)
