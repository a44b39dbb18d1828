"""Metrics of the field by hand, and what they refuse."""

import math
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk import ngrams, wordpunct_tokenize

from unsee.errors import InputError
from unsee.metrics.answers import contains, keywords, letter, shuffled
from unsee.metrics.fluency import fluency
from unsee.metrics.forget_quality import c_dis
from unsee.metrics.likelihood import preference, truth_ratio, truth_share
from unsee.metrics.measures import LIKELIHOODS, TRUTH_GONE, TRUTH_KEPT
from unsee.metrics.membership import gradient, loss, min_k, min_k_plus, separation, zlib_ratio
from unsee.metrics.modality import all_modal_accuracy, all_modal_error, rlf, rlr
from unsee.metrics.readings import READINGS
from unsee.records import Sample

SHARES = st.floats(0, 1)


def test_cloze_and_keywords() -> None:
    assert contains("She was born in  New York.", "new york")
    assert not contains("She was born in York.", "New York")
    assert keywords("A nurse from Oslo", ["nurse", "oslo", "1987"]) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="no keywords"):
        keywords("a", [])


@given(st.integers(), st.integers(2, 6))
def test_shuffled_options_are_the_same_options_and_the_letter_is_the_right_ones(seed: int, count: int) -> None:
    options = [f"option {number}" for number in range(count)]
    order, right = shuffled(options, "option 1", seed)
    assert sorted(order) == options
    assert order["ABCDEF".index(right)] == "option 1"
    assert shuffled(options, "option 1", seed) == (order, right)


def test_every_place_is_as_likely_for_the_right_option() -> None:
    places = [shuffled("wxyz", "y", seed)[1] for seed in range(400)]
    assert all(70 < places.count(place) < 130 for place in "ABCD")


def test_an_answer_that_is_no_option_is_refused() -> None:
    with pytest.raises(InputError, match="is not one of the options"):
        shuffled(["a", "b"], "c", 0)
    with pytest.raises(InputError, match="is not one of the options"):
        shuffled(["a", "a"], "a", 0)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("B", "B"),
        ("b.", "B"),
        ("(C) nurse", "C"),
        ("D: Oslo", "D"),
        ("A", "A"),
        ("Because of the hat", None),  # the official parser says B
        ("E", None),
        ("", None),
        ("I do not know", None),
    ],
)
def test_the_letter_of_an_answer(answer: str, expected: str | None) -> None:
    assert letter(answer, 4) == expected


def test_both_modalities() -> None:
    image, text = [True, True, False, False], [True, False, True, False]
    assert all_modal_accuracy(image, text) == 0.25
    assert all_modal_error(image, text) == 0.25
    with pytest.raises(ValueError, match="no answers"):
        all_modal_accuracy([], [])
    with pytest.raises(ValueError, match=r"argument 2 is shorter"):
        all_modal_accuracy([True], [])


@given(SHARES, SHARES)
def test_rlf_is_near_the_larger_and_rlr_near_the_smaller(image: float, text: float) -> None:
    low, high = min(image, text), max(image, text)
    assert low - 1e-9 <= rlr(image, text) <= (image + text) / 2 + 1e-9
    assert (image + text) / 2 - 1e-9 <= rlf(image, text) <= high + 1e-9


def test_rlf_and_rlr_by_hand() -> None:
    assert rlf(0.6, 0.2) == pytest.approx(0.5)
    assert rlr(0.6, 0.2) == pytest.approx(0.3)
    assert rlf(0, 0) == rlr(0, 0) == 0


def test_truth_ratio_by_hand() -> None:
    assert truth_ratio(0.5, [0.25, 0.5]) == pytest.approx(math.sqrt(0.25 * 0.5) / 0.5)
    assert truth_ratio(0.0, [0.5]) == math.inf
    with pytest.raises(ValueError, match="wrong answers"):
        truth_ratio(0.5, [])


@given(SHARES, st.lists(SHARES, min_size=1, max_size=5))
def test_the_share_rises_with_the_ratio_and_the_preference_falls(right: float, wrong: list[float]) -> None:
    share, ratio = truth_share(right, wrong), truth_ratio(right, wrong)
    assert 0 <= share <= 1
    assert (share < 0.5) == (ratio < 1) or share == pytest.approx(0.5)
    assert 0 <= preference(right, wrong) <= 1
    assert preference(right, [right] * len(wrong)) == pytest.approx(1 / (1 + len(wrong)))


def test_preference_by_hand() -> None:
    assert preference(0.3, [0.1, 0.2]) == pytest.approx(0.5)
    assert preference(0.0, [0.0, 0.0]) == pytest.approx(1 / 3)


def test_membership_scores_by_hand() -> None:
    tokens = [-1.0, -4.0, -2.0, -3.0, 0.0]
    assert loss(tokens) == -2
    assert min_k(tokens, 0.4) == -3.5
    assert min_k(tokens, 0.01) == -4
    assert zlib_ratio(tokens, "a text") == pytest.approx(-10 / len(zlib.compress(b"a text")))
    assert min_k_plus([-1.0, -4.0], [-2.0, -2.0], [0.5, 2.0], 0.5) == -1
    for bad in (0, 1.5):
        with pytest.raises(ValueError, match="share"):
            min_k(tokens, bad)
    for empty in (loss, min_k):
        with pytest.raises(ValueError, match="no tokens"):
            empty([])


def test_separation_by_hand() -> None:
    assert separation([2.0, 3.0], [0.0, 1.0]) == (1.0, 1.0)
    assert separation([0.0, 1.0], [0.0, 1.0]) == (0.5, 0.0)
    area, rate = separation([5.0, 0.5], [float(number) / 100 for number in range(100)])
    assert area == pytest.approx((1 + 0.505) / 2)
    assert rate == 0.5
    with pytest.raises(ValueError, match="members and others"):
        separation([], [1.0])


def test_the_gradient_score_is_higher_for_smaller_norms() -> None:
    assert gradient([1.0, 3.0]) == -2
    assert gradient([0.1]) > gradient([0.2])
    with pytest.raises(ValueError, match="no norms"):
        gradient([])


def test_c_dis_by_hand() -> None:
    assert c_dis([0.8, 0.0], [0.4, 0.5]) == pytest.approx(0.8 * math.log(2) / 2)
    assert c_dis([0.5], [0.5]) == 0
    assert c_dis([1 / math.e], [1.0]) == pytest.approx(-1 / math.e), "the least there is"
    assert c_dis([1.0], [0.0]) == pytest.approx(12 * math.log(10))
    for sides in (([], []), ([0.5], [1.5]), ([0.5], [0.5, 0.5])):
        with pytest.raises(ValueError, match=r"probability|longer|shorter"):
            c_dis(*sides)


@given(st.text(alphabet="ab c.", max_size=40))
def test_fluency_is_romes_entropy(text: str) -> None:
    """The formula as ROME's code has it: base 2, arithmetic mean of the weighed entropies of 2- and 3-grams."""
    words = wordpunct_tokenize(text)
    if len(words) < 3:
        assert fluency(text) is None
        return
    entropies = []
    for n in (2, 3):
        _, counts = np.unique([" ".join(gram) for gram in ngrams(words, n)], return_counts=True)
        share = counts / counts.sum()
        entropies.append(-(share * np.log2(share)).sum())
    assert fluency(text) == pytest.approx(np.mean(np.array(entropies) * np.array([2 / 3, 4 / 3])), abs=1e-6)


def test_what_repeats_itself_is_less_fluent() -> None:
    repeated, varied = fluency("a b a b a b a b"), fluency("she sells shells by the sea shore now")
    assert repeated is not None
    assert varied is not None
    assert repeated < varied


SAMPLE = Sample(None, "a", answer="B", options=("red", "dark green"), measure="choice")


@pytest.mark.parametrize(
    ("reading", "said", "expected"),
    [
        ("", " Because. Yes", " Because. Yes"),
        ("first character", " because", "B"),
        ("first character", "", ""),
        ("nearest option", "It is green", "dark green"),
        ("nearest option", "", "red"),
        ("first sentence", "One. Two.", "One."),
        ("first sentence", "One", "One"),
        ("to full stop", "One. Two.", "One."),
        ("to full stop", "One", ""),
    ],
)
def test_readings_by_hand(reading: str, said: str, expected: str) -> None:
    assert READINGS[reading](said, SAMPLE) == expected


def test_truth_ratios_are_summed_up_as_tofu_does() -> None:
    for likely, gone, kept in (([0.5, 0.25, 0.25], 0.5, 0.5), ([0.2, 0.4], 0.5, 0.0), ([0.3, 0.0], 0.0, 1.0)):
        assert LIKELIHOODS[TRUTH_GONE](likely) == pytest.approx(gone)
        assert LIKELIHOODS[TRUTH_KEPT](likely) == pytest.approx(kept)
    assert LIKELIHOODS[TRUTH_GONE]([0.0, 0.3]) == 0
    assert LIKELIHOODS["probability"]([0.4, 0.9]) == 0.4
