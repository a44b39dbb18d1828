"""Membership inference: was this among the training data? Scores of one text, and how well they separate.

A score is higher for what the model has seen. Log-likelihoods are natural logarithms of the tokens of one text.
"""

import zlib
from collections.abc import Sequence
from statistics import fmean

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve


def loss(tokens: Sequence[float]) -> float:
    """Mean log-likelihood, at most 0. Source: Yeom et al. (2018). Raises ValueError without a token."""
    if not tokens:
        raise ValueError("there are no tokens")
    return fmean(tokens)


def zlib_ratio(tokens: Sequence[float], text: str) -> float:
    """Sum of log-likelihoods by the length of the compressed text in bytes. Source: Carlini et al. (2021)."""
    return sum(tokens) / len(zlib.compress(text.encode()))


def min_k(tokens: Sequence[float], share: float = 0.2) -> float:
    """Mean log-likelihood of the `share` least likely tokens, one at least. Source: Shi et al. (2024), Min-K%.

    Raises ValueError without a token, or for a share out of (0, 1].
    """
    return _lowest(tokens, share)


def min_k_plus(
    tokens: Sequence[float], means: Sequence[float], deviations: Sequence[float], share: float = 0.2
) -> float:
    """As `min_k` of (log-likelihood - mean) / deviation over the vocabulary's log-likelihoods at each place.

    Mean and deviation are weighed by the model's own probabilities there. Source: Zhang et al. (2025), Min-K%++.
    """
    standard = [
        (token - mean) / max(deviation, 1e-6) for token, mean, deviation in zip(tokens, means, deviations, strict=True)
    ]
    return _lowest(standard, share)


def gradient(norms: Sequence[float]) -> float:
    """Minus the mean norm of the loss's gradients, one for each tensor it is taken by: small for what was learnt.

    Source: the white-box attacks of Nasr et al. (2019); the mean over tensors as in common code. Raises ValueError
    without a norm.
    """
    if not norms:
        raise ValueError("there are no norms")
    return -fmean(norms)


def _lowest(values: Sequence[float], share: float) -> float:
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; expected a share above 0, and at most 1")
    if not values:
        raise ValueError("there are no tokens")
    return fmean(sorted(values)[: max(1, int(share * len(values)))])


def separation(members: Sequence[float], others: Sequence[float], false_positives: float = 0.01) -> tuple[float, float]:
    """Area under the ROC curve, and the true positive rate at so small a false positive rate: both in [0, 1].

    .5 and `false_positives` are chance; higher means that membership can be told. The rate is that of the strictest
    threshold that has at most so many false positives. Raises ValueError where a side is empty.
    """
    if not members or not others:
        raise ValueError("separation needs members and others")
    truth = np.r_[np.ones(len(members)), np.zeros(len(others))]
    values = np.r_[np.asarray(members, float), np.asarray(others, float)]
    rates, found, _ = roc_curve(truth, values, drop_intermediate=False)
    return float(roc_auc_score(truth, values)), float(found[rates <= false_positives].max())
