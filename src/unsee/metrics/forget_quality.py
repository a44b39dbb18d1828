"""How two models' confidence in the target's answers differs: the field's forget quality, and C-Dis."""

import math
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

BINS = 20
LEAST = 1e-12  # of a probability in a logarithm


def _check(after: Sequence[float], oracle: Sequence[float]) -> None:
    for name, sample in (("after", after), ("the other", oracle)):
        if not all(0 <= value <= 1 for value in sample) or not sample:
            raise ValueError(f"{name} holds {len(sample)} values; expected at least one, each a probability in [0, 1]")


def ks_p_value(after: Sequence[float], oracle: Sequence[float]) -> float:
    """p-value in [0, 1] of the two-sample Kolmogorov-Smirnov test; higher means harder to tell from the oracle.

    The samples are probabilities of the right answers. Source: TOFU (Maini et al. 2024), which tests truth ratios.
    Raises ValueError for an empty sample or one with values outside [0, 1].
    """
    _check(after, oracle)
    return float(ks_2samp(after, oracle).pvalue)


def one_minus_js(after: Sequence[float], oracle: Sequence[float]) -> float:
    """1 - Jensen-Shannon divergence (base 2) of the two histograms over [0, 1], in [0, 1]; higher is more alike.

    Source: the divergence is usual for comparing with an oracle; 20 equal bins are our choice. Raises ValueError for an
    empty sample or one with values outside [0, 1].
    """
    _check(after, oracle)
    histograms = [np.histogram(sample, bins=BINS, range=(0, 1))[0] for sample in (after, oracle)]
    return 1.0 - float(jensenshannon(*histograms, base=2)) ** 2


def c_dis(before: Sequence[float], after: Sequence[float]) -> float:
    """Mean of p log(p / q), p and q the probability of a right answer before and after; more means more was forgotten.

    Natural logarithm; 0 where nothing changed, below 0 (at least -1/e) where answers became more likely. Source:
    MMUBench (Li et al. 2024, arXiv 2405.12523) names it for the tokens of a concept; its equation was not available.
    The summand is that of an independent implementation, its sign turned; whole answers by their length are ours.
    Raises ValueError for samples that are empty, of different lengths, or hold values outside [0, 1].
    """
    _check(after, before)
    pairs = zip(before, after, strict=True)
    return fmean(p * math.log(p / max(q, LEAST)) if p else 0.0 for p, q in pairs)
