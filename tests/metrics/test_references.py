"""Metrics of the field against the libraries that published numbers come from, on fifty fixed predictions."""

import random
from pathlib import Path

import numpy as np
import pytest
from nltk.stem.porter import PorterStemmer
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import roc_auc_score, roc_curve

from unsee.metrics.membership import separation
from unsee.metrics.overlap import bleu, rouge_l, rouge_n
from unsee.metrics.stem import stem

TEXT = """She is a well-known pianist, born in Lisbon in 1987; his skies were dying, relational operators generalised
the feudalism of hopping and falling agreements. News: 3 flies tied ties (quickly!) WHO proceeded? it's électrique"""
WORDS = TEXT.split()
DRAWN = random.Random(0)
PREDICTIONS = [
    (" ".join(DRAWN.choices(WORDS, k=DRAWN.randint(1, 14))), " ".join(DRAWN.choices(WORDS, k=DRAWN.randint(1, 14))))
    for _ in range(44)
] + [
    ("", "a word"),
    ("a word", ""),
    ("the same words here", "the same words here"),
    ("walking dogs", "walked dog"),
    ("no match", "at all whatever"),
    ("short", "a very much longer reference than that"),
]
NEAR = {"abs": 1e-6}


def test_there_are_fifty_and_they_are_not_all_alike() -> None:
    assert len(PREDICTIONS) == 50
    values = {round(rouge_l(*pair).f, 6) for pair in PREDICTIONS}
    assert len(values) > 15


@pytest.mark.parametrize("pair", PREDICTIONS)
def test_rouge_is_that_of_rouge_score_with_its_stemmer(pair: tuple[str, str]) -> None:
    answer, reference = pair
    expected = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True).score(reference, answer)
    found = {"rouge1": rouge_n(*pair, 1), "rouge2": rouge_n(*pair, 2), "rougeL": rouge_l(*pair)}
    for name, overlap in found.items():
        assert overlap.precision == pytest.approx(expected[name].precision, **NEAR)
        assert overlap.recall == pytest.approx(expected[name].recall, **NEAR)
        assert overlap.f == pytest.approx(expected[name].fmeasure, **NEAR)


@pytest.mark.parametrize("pair", PREDICTIONS)
def test_bleu_is_that_of_nltk_with_its_first_smoothing(pair: tuple[str, str]) -> None:
    answer, reference = pair
    expected = sentence_bleu([reference.split()], answer.split(), smoothing_function=SmoothingFunction().method1)
    assert bleu(answer, reference) == pytest.approx(expected, **NEAR)


def test_stems_are_those_of_nltk() -> None:
    text = (Path(__file__).parents[2] / "docs" / "log.md").read_text() + " ".join(WORDS)
    words = set("".join(c if c.isalpha() and c.isascii() else " " for c in text.lower()).split())
    words |= {"flies", "dies", "agreed", "feed", "hopping", "falling", "hissing", "sky", "skies", "sensationally"}
    words |= {"analogical", "radically", "conformably", "vileness", "adoption", "communism", "controlled", "roll", "by"}
    theirs = PorterStemmer()
    assert {word: stem(word) for word in words} == {word: theirs.stem(word) for word in words}


@pytest.mark.parametrize("seed", range(5))
def test_separation_is_that_of_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    members, others = generator.normal(0.5, 1, 60).round(1), generator.normal(0, 1, 250).round(1)
    truth, values = np.r_[np.ones(60), np.zeros(250)], np.r_[members, others]
    area, rate = separation(members.tolist(), others.tolist())
    assert area == pytest.approx(roc_auc_score(truth, values), **NEAR)
    false, true, _ = roc_curve(truth, values)
    assert rate >= max(t for f, t in zip(false, true, strict=True) if f <= 0.01) - 1e-9
    bound = sorted(others, reverse=True)[2]  # at or above it are three of 250, above it at most two
    assert rate == pytest.approx(np.mean(members > bound), **NEAR)
