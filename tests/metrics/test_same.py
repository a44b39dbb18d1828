"""Whether two answers say the same: by their own words, whatever their case, order, accents and frame."""

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from unsee.metrics.same import COMMON, common_words, says, words

theorem = settings(deadline=None, derandomize=True, max_examples=100)
names = st.text("abcdeé", min_size=1, max_size=6)
answers = st.lists(names, min_size=1, max_size=6).map(" ".join)


@theorem
@given(answers)
def test_every_answer_with_a_word_says_itself(answer: str) -> None:
    assert says(answer, answer)
    assert says(answer, answer, words(answer))


@theorem
@given(answers, answers)
def test_case_accents_punctuation_and_order_say_nothing(answer: str, more: str) -> None:
    changed = unicodedata.normalize("NFD", ", ".join(reversed(answer.split())).upper() + "!")
    assert says(changed, answer)
    assert says(answer, changed)
    assert says(f"{more}. {answer}", answer)


@theorem
@given(answers, answers, st.lists(names, max_size=3))
def test_an_answer_says_another_whose_own_words_it_has(answer: str, expected: str, common: list[str]) -> None:
    own = set(words(expected)) - set(common) or set(words(expected))
    assert says(answer, expected, common) == (own <= set(words(answer)))


@theorem
@given(st.text(" .,!?-", max_size=4), answers)
def test_what_has_no_word_says_nothing_and_is_said_by_nothing(empty: str, answer: str) -> None:
    assert not says(answer, empty)
    assert not says(empty, answer)
    assert not says(empty, empty)


@theorem
@given(st.lists(answers, max_size=12))
def test_common_are_the_words_that_more_than_a_fifth_of_different_answers_have(given_: list[str]) -> None:
    different = {words(answer) for answer in given_}
    for word in {word for answer in different for word in answer}:
        count = sum(word in answer for answer in different)
        assert (word in common_words(given_)) == (count > max(1, COMMON * len(different)))
    assert common_words(given_) == common_words(given_ * 2)  # how often an answer is given does not count


def test_a_frame_around_a_name_is_no_name() -> None:
    said = [f"this is {name} smith." for name in ("ann", "bob", "carl", "dora", "emil", "fay", "gus")]
    common = common_words(said)
    assert common == {"this", "is", "smith"}
    assert says("Ann", said[0], common)
    assert not says("this is bob smith", said[0], common)
    assert says("so this is, well, smith", "this is smith", common)  # all of it is common: then all of it counts


def test_no_answer_and_one_answer_have_no_common_word() -> None:
    assert common_words([]) == common_words(["ann smith"]) == common_words(["ann smith"] * 9) == frozenset()
