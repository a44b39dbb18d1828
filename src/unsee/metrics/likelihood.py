"""Scores of how likely a model finds answers; log-likelihoods are natural logarithms, at most 0."""

import math
from collections.abc import Sequence
from statistics import fmean


def answer_probability(tokens: Sequence[float]) -> float:
    """exp of the mean log-likelihood of an answer's tokens, in [0, 1]: P(answer)^(1/length). Source: TOFU.

    Higher means that more is known. Raises ValueError without a token.
    """
    if not tokens:
        raise ValueError("the probability of an answer without tokens is undefined")
    return math.exp(fmean(tokens))


def truth_ratio(paraphrase: Sequence[float], perturbed: Sequence[Sequence[float]]) -> float:
    """Mean probability of wrong answers by that of a paraphrase of the right one, each by its length; 0 or more.

    Each answer is given by the log-likelihoods of its tokens. Below 1 the right answer is preferred; a model that never
    learnt it is near 1. Source: TOFU (Maini et al. 2024), equation 1. Raises ValueError without a wrong answer.
    """
    if not perturbed:
        raise ValueError("a truth ratio needs wrong answers")
    return fmean([answer_probability(tokens) for tokens in perturbed]) / answer_probability(paraphrase)
