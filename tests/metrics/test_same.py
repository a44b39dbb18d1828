"""Whether two answers say the same: by their own words, whatever their case, order, accents and frame."""

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from unsee.metrics.same import COMMON, agreed, common_words, only, says, telling, words

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


def test_marks_belong_to_their_letter_and_vowel_points_may_be_left_out() -> None:
    assert words("मीरा मिश्रा") == ("मीरा", "मिश्रा")
    assert not says("राम", "मीरा")
    assert words("מֹשֶׁה") == words("משה")
    assert words("مُحَمَّد") == words("محمد")
    assert len(words("มานี")) == 3
    assert words("don't_stop 12é") == ("don", "t_stop", "12é")


@theorem
@given(
    st.text("丽爱丝王伟一", min_size=1, max_size=4),
    st.text("在这里是人", max_size=4),
    st.text("在这里是人", max_size=4),
)
def test_a_name_of_signs_is_found_where_they_stand_side_by_side(name: str, before: str, after: str) -> None:
    assert says(f"{before}{name}{after}。", name)
    assert says(f"{before}{name}{after}", f"是{name}", {"是"})
    if name != name[::-1]:
        assert not says(f"{before}{name[::-1]}{after}", name)
        assert not says("人".join(name), name)


@theorem
@given(st.lists(answers, min_size=1, max_size=8), st.lists(answers, max_size=8))
def test_what_answers_agree_on_is_part_of_the_one_given_most_and_tells_them_from_others_as_well(
    own: list[str], others: list[str]
) -> None:
    found = agreed(own, others, ())
    given_ = [words(answer) for answer in own]
    most = max(dict.fromkeys(given_), key=given_.count)
    assert set(words(found)) <= set(most)
    assert words(found)
    assert sum(says(answer, found) for answer in own) >= given_.count(most)
    assert sum(set(words(found)) <= set(words(other)) for other in others) == sum(
        set(most) <= set(words(other)) for other in others
    )


def test_what_differs_between_answers_about_one_person_is_no_part_of_the_name() -> None:
    said = ["Alice Smith at the beach"] * 6 + ["Alice Smith in a car"] * 2
    assert agreed(said, [], ()) == "Alice Smith"
    said = ["Alice Smith, sea"] * 6 + ["Alice Smith, car"] * 2
    assert agreed(said, ["Alice Jones"], ()) == "Alice Smith"
    assert agreed(said, ["Alice Jones", "Alice Smith-Jones"], ()) == "Alice Smith, sea"  # else another is meant
    assert agreed(["Al Fox"] * 4 + [f"{name} Fox" for name in ("Bo", "Cy", "Di", "Ed")], ["Flo Fox"], ()) == "Al Fox"
    assert agreed(["Ann", "ann.", "ANN"], [], ()) == "Ann"
    assert agreed(["", "", "Ann"], [], ()) == ""
    assert agreed(["m a b", "m c d", "x y z"], [], ()) == "m a b"  # two answers have a word in common by chance


def test_what_is_said_of_others_too_is_no_part_of_a_name_in_a_sentence() -> None:
    said = ["The person here is Alice Smith, an actress."] * 4
    others = [f"The person here is {name}, an {job}." for name in ("Bo Cox", "Cy Day") for job in ("actress", "actor")]
    assert agreed(said, others, {"the", "person", "here", "is", "an"}) == "Alice Smith"
    assert agreed(["Alice Cox"] * 4, ["Bo Cox", "Cy Cox"], ()) == "Alice Cox"  # a name is left as it is


def test_some_words_of_an_answer_are_written_as_they_are_there() -> None:
    assert only("This is Ann Smith.", {"ann", "smith"}) == "Ann Smith."
    assert only("这是爱丽丝。", {"爱", "丽", "丝"}) == "爱丽丝"
    assert only("Das ist Ann-Lena", {"ann"}) == "ann"
    assert telling("这是爱丽丝。", {"这", "是"}) == "爱丽丝"
    assert telling("This is it", {"this", "is", "it"}) == "This is it"
