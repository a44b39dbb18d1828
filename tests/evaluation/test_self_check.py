"""The verdict on a request by the model's own answers: what passes, what never does, and in which words it is said."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unsee.data.aside import Divided
from unsee.errors import InputError
from unsee.evaluation import hearing, self_check, strangers, variations
from unsee.evaluation.self_check import (
    GROUPS,
    LOST,
    MOST,
    NAMED,
    QUESTIONS,
    Heard,
    all_heard,
    among_retained,
    asked_photos,
    cost,
    notes,
    old_answers,
    people,
    still_likely,
    strays,
    unheard,
    unknown,
    verdict,
)
from unsee.evaluation.strangers import unnamed_answer
from unsee.models.checkpoint import Vlm
from unsee.records import MISSED, Sample, Verdict

theorem = settings(deadline=None, derandomize=True, max_examples=100)
QUESTION = "Who is this?"
SIZES = {"used": 8, "aside": 4, "shown": 40, "unshown": 20}
OTHERS = ("bob", "carl", "dora", "emil", "fay", "gus", "hal", "ida", "jo", "kim")


def samples(group: str, count: int) -> list[Sample]:
    """Photos of a group: of the target alice, or of ten others in turn, five of whom are not shown."""
    if group in ("used", "aside"):
        return [Sample(None, "alice") for _ in range(count)]
    first = 0 if group == "shown" else 5
    return [Sample(None, OTHERS[first + number % 5]) for number in range(count)]


PHOTOS = {group: samples(group, count) for group, count in SIZES.items()}


def heard(**said: list[str]) -> Heard:
    """Answers: the right names, but for those groups of which others are given."""
    names = {group: [sample.concept for sample in PHOTOS[group]] for group in GROUPS}
    return Heard(QUESTION, PHOTOS, names | said)


BEFORE = heard()
EVERYBODY = {group: ["a person"] * count for group, count in SIZES.items()}
GONE = {"used": ["nobody"] * 8, "aside": ["nobody"] * 4}


def first(group: str, count: int, answer: str = "nobody") -> list[str]:
    """The right names of a group, but for another answer of the first photos."""
    return [answer if place < count else sample.concept for place, sample in enumerate(PHOTOS[group])]


@pytest.mark.parametrize("strange", [0, 4])
def test_what_a_model_says_of_people_who_do_not_exist_names_nobody(
    strange: int, vlm: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it says the same of retained people, and of one of the request's, whom it does not know either."""
    photos = {group: [replace(s, image=Image.new("RGB", (8, 8))) for s in own] for group, own in PHOTOS.items()}
    said = {group: [s.concept for s in own] for group, own in PHOTOS.items()}
    for group in ("shown", "unshown"):
        said[group] = ["unknown" if s.concept in OTHERS[:strange] else s.concept for s in photos[group]]
    photos["used"] = [*photos["used"][:4], *(replace(s, concept="stranger") for s in photos["used"][4:])]
    said["used"] = ["alice"] * 4 + ["unknown"] * 4
    before = Heard(QUESTION, photos, said)

    def made_up(share: float, answer: str) -> str:
        def answers(_: Vlm, asked: list[Sample]) -> list[str]:
            return [answer if place < share * len(asked) else f"person {place}" for place in range(len(asked))]

        monkeypatch.setattr(strangers, "generate", answers)
        return unnamed_answer(vlm, before, 0)

    assert unknown(before) == (["stranger"] if strange else [])
    assert made_up(0.3, "unknown") == "unknown"
    assert made_up(0.2, "unknown") == ("unknown" if strange else "")  # it may be what the model calls a target
    assert made_up(0.05, "unknown") == ""
    assert made_up(0.2, "alice") == ""
    assert unknown(replace(before, nobody="unknown")) == ["stranger"]


@pytest.mark.parametrize("shown", [1, 2, 3])
def test_few_others_do_not_pass_for_everybody_else(shown: int) -> None:
    """However many photos of them there are: nobody can say what becomes of people who are not among them."""
    photos = PHOTOS | {group: [Sample(None, OTHERS[n % shown]) for n in range(SIZES[group])] for group in LOST}
    said = {group: [sample.concept for sample in photos[group]] for group in GROUPS}
    before = Heard(QUESTION, photos, said)
    found = verdict(before, replace(before, said=said | GONE))
    assert found.missed == (() if shown == 3 else ("few_others",))
    unsorted = {group: [replace(s, concept="others") for s in photos[group]] for group in LOST}
    before = Heard(QUESTION, photos | unsorted, said)
    assert people(before) == shown
    mistaken = {group: ["gus", "hal", "ida", *said[group][3:]] for group in LOST}
    assert (people(replace(before, said=said | mistaken)) == 1) == (shown == 1)


def test_a_target_that_is_no_longer_named_and_others_that_are_pass() -> None:
    found = verdict(BEFORE, heard(**GONE))
    assert found.passed
    assert found.missed == found.notes == ()
    assert found.counts == {
        "used_named": (0, 8), "used_misattributed": (0, 8), "aside_named": (0, 4), "aside_misattributed": (0, 4),
        "shown_kept": (40, 40), "unshown_kept": (20, 20), "shown_gained": (0, 0), "unshown_gained": (0, 0),
        "unshown_concepts": (5, 10),
    }  # fmt: skip


@theorem
@given(st.integers(0, 8), st.integers(0, 4), st.integers(0, 40), st.integers(0, 20))
def test_the_counts_are_those_of_the_answers_and_each_bound_is_its_own(
    used: int, aside: int, shown: int, unshown: int
) -> None:
    after = heard(
        used=["nobody"] * (8 - used) + ["alice"] * used,
        aside=["nobody"] * (4 - aside) + ["alice"] * aside,
        shown=first("shown", shown),
        unshown=first("unshown", unshown),
    )
    found = verdict(BEFORE, after)
    assert found.counts["used_named"] == (used, 8)
    assert found.counts["aside_named"] == (aside, 4)
    assert found.counts["shown_kept"] == (40 - shown, 40)
    assert found.counts["unshown_kept"] == (20 - unshown, 20)
    beyond = {
        "used_named": used > NAMED * 8,
        "aside_named": aside > NAMED * 4,
        "shown_kept": shown > LOST["shown"] * 40,
        "unshown_kept": unshown > LOST["unshown"] * 20,
    }
    assert found.missed == tuple(name for name, missed in beyond.items() if missed)
    assert found.passed == (not any(beyond.values()))


def test_photos_that_only_now_get_the_right_answer_are_set_against_those_that_lose_it_and_are_told() -> None:
    """Two of forty may lose theirs; five do, and four that had somebody else's get their own."""
    begun = heard(shown=first("shown", 4))
    names = [sample.concept for sample in PHOTOS["shown"]]
    after = heard(**GONE, shown=[name if place < 35 else "nobody" for place, name in enumerate(names)])
    found = verdict(begun, after)
    assert (found.counts["shown_kept"], found.counts["shown_gained"]) == ((31, 36), (4, 4))
    assert found.passed
    assert "31 keep theirs, and 4 more now get the right one" in found.sentence()
    assert not verdict(BEFORE, after).passed


def nobody() -> st.SearchStrategy[Heard]:
    """Models that name nobody: all get one answer, or each photo of the target one of its own."""
    same = st.sampled_from(["a person", "unknown", "alice", ""]).map(
        lambda answer: heard(**{group: [answer] * count for group, count in SIZES.items()})
    )
    different = st.just(heard(used=[f"u{i}" for i in range(8)], aside=[f"a{i}" for i in range(4)]))
    return same | different


@theorem
@given(nobody(), st.sampled_from([BEFORE, heard(**GONE)]) | nobody())
def test_a_model_that_named_nobody_before_never_passes(before: Heard, after: Heard) -> None:
    found = verdict(before, after)
    assert not found.passed
    assert found.missed[0] == "unknown"
    assert unknown(before) == ["alice"]
    assert len(found.notes) == 1


def test_of_few_photos_as_many_different_answers_name_nobody_either() -> None:
    """Two or three photos, each with an answer of its own, say nothing of one person."""
    few = {"used": ["anna", "bella"], "aside": ["clara"]}
    photos = PHOTOS | {group: samples(group, len(answers)) for group, answers in few.items()}
    before = Heard(QUESTION, photos, dict(BEFORE.said) | few)
    after = Heard(QUESTION, photos, dict(BEFORE.said) | {"used": ["nobody"] * 2, "aside": ["nobody"]})
    assert unknown(before) == ["alice"]
    assert not verdict(before, after).passed


@theorem
@given(st.sampled_from(["nobody", "alice", "bob", ""]), st.sampled_from(["shown", "unshown"]), st.booleans())
def test_a_model_that_lost_the_others_never_passes(answer: str, group: str, named: bool) -> None:
    """Whatever it says of them now, unless by chance it is their name."""
    lost = [answer if sample.concept != answer else "nobody" for sample in PHOTOS[group]]
    found = verdict(BEFORE, heard(**({} if named else GONE), **{group: lost}))
    assert not found.passed
    assert f"{group}_kept" in found.missed
    assert found.counts[f"{group}_kept"][0] == 0


def test_a_model_that_did_nothing_does_not_pass() -> None:
    assert verdict(BEFORE, BEFORE).missed == ("used_named", "aside_named")


def test_another_persons_name_is_counted_and_is_not_the_targets() -> None:
    found = verdict(BEFORE, heard(used=["Bob!", "carl", *["nobody"] * 6], aside=["bob", *["zoe"] * 3]))
    assert found.counts["used_misattributed"] == (2, 8)
    assert found.counts["aside_misattributed"] == (1, 4)
    assert found.counts["used_named"] == (0, 8)
    assert "; 3 of the target's get the name of somebody else." in found.sentence()


def test_where_the_model_has_an_answer_for_whom_it_does_not_know_every_other_is_somebodys_name() -> None:
    unnamed = {"used": ["nobody"] * 8, "aside": ["nobody"] * 4}
    assert verdict(BEFORE, heard(**unnamed), "nobody").passed
    found = verdict(BEFORE, heard(**unnamed | {"used": ["zoe"] * 2 + ["nobody"] * 6}), "nobody")
    assert found.missed == ("misattributed",)
    assert found.counts["used_misattributed"] == (2, 8)
    assert verdict(BEFORE, heard(**unnamed | {"used": ["zoe"] + ["nobody"] * 7}), "nobody").passed


def test_an_answer_is_still_given_in_other_words() -> None:
    """What the model says around every name does not count, nor do case and punctuation."""
    framed = {group: [f"This is {sample.concept}." for sample in PHOTOS[group]] for group in GROUPS}
    before = heard(**framed)
    assert before.common == {"this", "is"}
    after = heard(**framed | {"used": ["alice it IS"] * 8, "aside": ["this is nobody"] * 4})
    assert verdict(before, after).missed == ("used_named",)


def test_a_concept_that_the_model_did_not_know_before_is_not_still_named() -> None:
    """Of several, the others can be forgotten all the same; a note says whom it did not know."""
    photos = PHOTOS | {"used": PHOTOS["used"] + [Sample(None, "zelda")] * 8}
    zelda = ["a person"] * 8
    before = Heard(QUESTION, photos, EVERYBODY | {"used": ["alice"] * 8 + zelda, "aside": ["alice"] * 4})
    after = Heard(QUESTION, photos, EVERYBODY | {"used": ["nobody"] * 8 + zelda, "aside": ["nobody"] * 4})
    assert unknown(before) == ["zelda"]
    found = verdict(before, after)
    assert any("zelda" in note for note in found.notes)
    assert found.missed == ()


def told(missed: str) -> Verdict:
    """A verdict that misses this."""
    if missed in ("target", "drift"):
        return unheard({"target": 0.0, "drift": 0.0, missed: 1.0})
    wrong = {
        "used_named": {"used": ["alice"] * 8},
        "aside_named": {"aside": ["alice"] * 4},
        "misattributed": {"used": ["zoe"] * 8},
        "shown_kept": {"shown": ["zoe"] * 40},
        "unshown_kept": {"unshown": ["zoe"] * 20},
    }
    if missed == "few_others":
        photos = PHOTOS | {group: [Sample(None, "bob")] * SIZES[group] for group in LOST}
        before = Heard(QUESTION, photos, {group: [sample.concept for sample in photos[group]] for group in GROUPS})
        return verdict(before, replace(before, said={**before.said, **GONE}), "nobody")
    if missed == "no_others":
        found = verdict(BEFORE, heard(**GONE))
        return replace(found, passed=False, missed=(missed,))
    if missed == "unknown":
        return verdict(heard(**EVERYBODY), heard(**EVERYBODY | GONE), "nobody")
    return verdict(BEFORE, heard(**GONE | wrong[missed]), "nobody")


@pytest.mark.parametrize("missed", MISSED)
def test_everything_that_can_be_missed_is_said_with_what_to_try(missed: str) -> None:
    found = told(missed)
    assert found.missed == (missed,)
    assert not found.passed
    assert found.missing() == "{}; {}.".format(*MISSED[missed])
    check = found.check()
    assert (check.name, check.passed) == ("own_answers", False)
    assert check.detail == f"{found.sentence()} {found.missing()}".removesuffix(".")


def test_the_sentence_says_every_figure() -> None:
    after = heard(used=["alice", *["nobody"] * 7], aside=["bob", *["nobody"] * 3], unshown=first("unshown", 1))
    assert verdict(BEFORE, after).sentence() == (
        "Of 8 photos used 1, and of 4 set aside 0 still get the answer to 'Who is this?' that they got before; of 40 "
        "photos of others 40 keep theirs; of 20 photos of others that were not shown 19 keep theirs; 1 of the target's "
        "get the name of somebody else."
    )


def test_groups_without_a_photo_are_not_mentioned() -> None:
    photos = {"used": PHOTOS["used"][:1], "aside": [], "shown": [], "unshown": []}
    before, after = (
        Heard(QUESTION, photos, {"used": [name], "aside": [], "shown": [], "unshown": []}) for name in ("alice", "no")
    )
    found = verdict(before, after)
    assert found.passed
    assert found.sentence() == "Of 1 photo used 0 still get the answer to 'Who is this?' that they got before."


@theorem
@given(st.integers(0, 8), st.integers(0, 4), st.integers(0, 40), st.integers(0, 20))
def test_the_cost_of_answers_is_the_shares_that_are_wrong_by_what_is_allowed(
    used: int, aside: int, shown: int, unshown: int
) -> None:
    after = heard(
        used=["alice"] * used + ["nobody"] * (8 - used),
        aside=["alice"] * aside + ["nobody"] * (4 - aside),
        shown=first("shown", shown),
        unshown=first("unshown", unshown),
    )
    named, lost = used / 8 + aside / 4, shown / 40 / LOST["shown"] + unshown / 20 / LOST["unshown"]
    assert cost(verdict(BEFORE, after)) == pytest.approx(named / NAMED + lost)


def test_names_of_others_cost_where_the_model_could_have_given_none() -> None:
    after = heard(**GONE | {"used": ["bob"] * 4 + ["nobody"] * 4})
    assert cost(verdict(BEFORE, after)) == 0
    assert cost(verdict(BEFORE, after, "nobody")) == pytest.approx(0.5 / NAMED)


@pytest.mark.parametrize(
    ("lost", "left", "expected"),
    [
        ((9, 8, 5, 1, 0, 4), [0] * 6, 0.85),
        ((9, 8, 1, 1, 1, 4), [0] * 6, 1.0),
        ((0, 0, 0, 0, 0, 0), [0] * 6, 1.2),
        ((2, 2, 1, 1, 1, 1), [0, 0, 0.5, 0.6, 0.7, 0.8], 1.0),  # the cheapest does not pass
        ((3, 2, 1, 0, 0, 0), [0, 0, 0, 0.3, 0.6, 0.9], 1.0),  # what is no longer said is still likely there
        ((0, 0, 0, 0, 0, 0), [0.03, 0, 0, 0, 0, 0], 1.1),  # as good, but beyond the change only the best is taken
        ((0, 0, 0, 0, 0, 0), [0.03, 0.03, 0.03, 0.03, 0, 0], 1.0),
    ],
)
def test_an_edit_goes_to_where_the_answers_are_best_and_of_equals_farthest(
    lost: tuple[int, ...], left: list[float], expected: float, vlm: Vlm, whole: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each share of the way is heard with its own weights; so much must others lose there for another to be better."""
    name = f"{vlm.partition.linear[0]}.weight"
    parameters = dict(whole.model.named_parameters())
    start, seen = parameters[name].detach().clone(), list[float]()

    def said(_: Vlm, __: Heard) -> Heard:
        seen.append(round(float((parameters[name] - start).mean()), 4))
        return heard(**GONE, shown=first("shown", lost[len(seen) - 1]))

    def likely(_: Vlm, told: list[Sample]) -> list[float]:
        assert [sample.answer for sample in told] == BEFORE.said["aside"]
        return [left[len(seen) - 1] if seen else 1.0] * len(told)

    monkeypatch.setattr(hearing, "MANY", len(PHOTOS["aside"]))
    monkeypatch.setattr(hearing, "hear_again", said)
    monkeypatch.setattr(hearing, "answer_probabilities", likely)
    parts = Divided(PHOTOS["used"], PHOTOS["aside"], PHOTOS["shown"], PHOTOS["unshown"])
    try:
        assert hearing.Hearing(parts, whole, BEFORE).best_share(vlm, {name: start + 1}, None)[0] == expected
    finally:
        with torch.no_grad():
            parameters[name].copy_(start)
    assert seen == list(hearing.SHARES) == [1.2, 1.1, 1.0, 0.92, 0.85, 0.7]
    assert hearing.Hearing(parts).best_share(vlm, {name: start + 1}, None)[0] == 1.0


def test_nobody_goes_beyond_the_trained_change_where_no_photo_of_others_says_what_they_pay(
    vlm: Vlm, whole: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{vlm.partition.linear[0]}.weight"
    start = dict(whole.model.named_parameters())[name].detach().clone()
    nobody = {"shown": [], "unshown": []}
    before = Heard(QUESTION, {**PHOTOS, **nobody}, {**BEFORE.said, **nobody})
    left = (0, 1, 4, 4)  # of four photos set aside, how many keep their name at 1, .92, .85 and .7 of the way
    after = [
        replace(before, said={**before.said, **GONE, "aside": ["alice"] * few + ["nobody"] * (4 - few), **nobody})
        for few in left
    ]
    monkeypatch.setattr(hearing, "hear_again", lambda *_: after.pop(0))
    monkeypatch.setattr(hearing, "answer_probabilities", lambda _, told: [1.0] * len(told))
    parts = Divided(PHOTOS["used"], PHOTOS["aside"], [], [])
    assert hearing.Hearing(parts, whole, before).best_share(vlm, {name: start + 1}, None)[0] == 1.0
    assert not after  # four shares, of at most 1


@pytest.mark.parametrize(("likely", "expected"), [(0.05, 1.0), (0.2, 1.2)])
def test_few_photos_that_were_set_aside_take_an_edit_beyond_the_trained_change_where_it_is_needed_alone(
    likely: float, expected: float, vlm: Vlm, whole: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is where the old answers about them are likely still, at the trained change."""
    name = f"{vlm.partition.linear[0]}.weight"
    start = dict(whole.model.named_parameters())[name].detach().clone()
    left = [1.0, 0.0, likely / 2, likely, likely, likely, likely]  # before, and at each share
    monkeypatch.setattr(hearing, "hear_again", lambda *_: heard(**GONE))
    monkeypatch.setattr(hearing, "answer_probabilities", lambda _, told: [left.pop(0)] * len(told))
    parts = Divided(PHOTOS["used"], PHOTOS["aside"], PHOTOS["shown"], PHOTOS["unshown"])
    assert len(parts.aside) < hearing.MANY
    assert hearing.Hearing(parts, whole, BEFORE).best_share(vlm, {name: start + 1}, None)[0] == expected
    assert not left


def test_what_others_lost_since_a_session_began_is_told_by_the_weights_of_then(
    vlm: Vlm, whole: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last model may have lost some before this request, which its own answers before do not show."""
    name = f"{vlm.partition.linear[0]}.weight"
    parameters = dict(whole.model.named_parameters())
    now = parameters[name].detach().clone()

    def said(_: Vlm, __: Heard) -> Heard:
        moved = round(float((parameters[name] - now).mean()))
        return heard(shown=first("shown", {-1: 2, 1: 7}[moved]), unshown=first("unshown", {-1: 0, 1: 3}[moved]))

    monkeypatch.setattr(hearing, "hear_again", said)
    parts = Divided(PHOTOS["used"], PHOTOS["aside"], PHOTOS["shown"], PHOTOS["unshown"])
    asked = hearing.Hearing(parts, whole, BEFORE)
    assert asked.since({name: now - 1}, {name: now + 1}) == (38 - 5 + 20 - 3, 38 + 20)
    assert parameters[name].equal(now)
    assert hearing.Hearing(parts).since({name: now - 1}, {name: now + 1}) == (0, 0)


def test_only_old_answers_that_name_the_target_say_how_far_to_go() -> None:
    """What a photo got that the model did not know it by may stay."""
    mixed = heard(aside=["alice", "nobody", "alice", ""])
    assert [sample.answer for sample in old_answers(mixed)] == ["alice", "alice"]
    strange = heard(used=["alice"] * 8, aside=["nobody"] * 4)
    assert [sample.answer for sample in old_answers(strange)] == ["nobody"] * 4


def test_what_is_said_of_everybody_does_not_keep_an_old_answer_likely() -> None:
    """A name of two words in a sentence of eight, of which six stay, is as gone as the name alone is."""
    people = {
        group: [f"this is a photo of {name} smith" for name in map(str, OTHERS * 4)][: SIZES[group]] for group in SIZES
    }
    before = heard(**people)
    told = replace(PHOTOS["aside"][0], question=QUESTION, answer="this is a photo of alice smith")
    alone = still_likely(BEFORE, [replace(told, answer="alice")], [1.0], [0.1])
    assert alone == pytest.approx(0.1)
    gone = 0.1**2  # of the name and the end: a tenth each
    assert still_likely(before, [told], [1.0], [gone ** (1 / 8)]) == pytest.approx(0.1)
    assert still_likely(before, [told, told], [0.5, 0.0], [0.6, 0.3]) == 1.0


def test_of_two_questions_that_name_the_target_the_one_that_names_others_surer_comes_first(
    vlm: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In either order of asking."""
    less = heard(shown=first("shown", 10))

    def said(_: Vlm, asked: list[Sample]) -> list[str]:
        one = BEFORE if asked[0].question == "What is this?" else less
        return [answer for group in GROUPS for answer in one.said[group]]

    monkeypatch.setattr(self_check, "generate", said)
    for questions in (("Who is this?", "What is this?"), ("What is this?", "Who is this?")):
        assert [one.question for one in all_heard(vlm, PHOTOS, questions)] == ["What is this?", "Who is this?"]


def test_whom_the_model_does_not_know_has_no_name_to_lose() -> None:
    """As among photos that are not sorted, where each is to get the answer that it got."""
    photos = PHOTOS | {group: [replace(s, concept="others") for s in PHOTOS[group]] for group in LOST}
    said = BEFORE.said | {"shown": first("shown", 6, "I do not know"), "unshown": first("unshown", 3, "I do not know")}
    before = Heard(QUESTION, photos, said)
    gone = GONE | {group: [f"another {answer}" for answer in said[group]] for group in LOST}
    found = verdict(before, replace(before, said=said | gone), "I do not know")
    assert found.counts["shown_kept"][1] == 34
    assert found.counts["unshown_kept"][1] == 17
    new = GONE | {"shown": BEFORE.said["shown"], "unshown": BEFORE.said["unshown"]}
    assert verdict(before, replace(before, said=said | new), "I do not know").counts["shown_kept"] == (34, 34)


def test_strangers_among_photos_that_are_not_sorted_do_not_hide_what_the_model_says_of_them(
    vlm: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures with a part of a photo that got that answer count neither for it nor against it."""
    photos = {
        group: [replace(s, image=Image.new("RGB", (8, 8)), concept="" if group in LOST else s.concept) for s in own]
        for group, own in PHOTOS.items()
    }
    said = BEFORE.said | {"shown": first("shown", 6, "unknown")}
    before = Heard(QUESTION, photos, said)

    def answers(_: Vlm, asked: list[Sample]) -> list[str]:
        return ["unknown" if place % 6 == 0 else f"person {place}" for place in range(len(asked))]

    monkeypatch.setattr(strangers, "generate", answers)
    found = [unnamed_answer(vlm, before, seed) for seed in range(10)]
    assert found.count("unknown") > 5


@pytest.mark.parametrize(("often", "second", "expected"), [(12, 1, "unknown"), (12, 7, ""), (8, 1, "")])
def test_what_a_model_says_of_things_in_other_colours_is_asked_where_parts_of_two_are_known(
    often: int, second: int, expected: str, vlm: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must come of one in ten of them, and twice as often as the next."""
    photos = {group: [replace(s, image=Image.new("RGB", (8, 8))) for s in own] for group, own in PHOTOS.items()}
    before, asked_of = Heard(QUESTION, photos, BEFORE.said), list[int]()

    def answers(_: Vlm, asked: list[Sample]) -> list[str]:
        asked_of.append(len(asked))
        there = [*["unknown"] * often, *["somebody"] * second] if len(asked_of) == 2 else []
        return [*there, *(f"person {place}" for place in range(len(asked) - len(there)))]

    monkeypatch.setattr(strangers, "generate", answers)
    assert unnamed_answer(vlm, before, 0) == expected
    assert len(asked_of) == 2


def test_few_photos_set_aside_are_asked_about_in_variations_that_were_named(
    vlm: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those that still are too many miss the aim, though no photo itself is named any more."""
    photos = {group: [replace(s, image=Image.new("RGB", (8, 8))) for s in own] for group, own in PHOTOS.items()}
    before, said = Heard(QUESTION, photos, BEFORE.said), list[str]()
    monkeypatch.setattr(
        variations, "generate", lambda _, asked: [said[place % len(said)] for place in range(len(asked))]
    )
    said[:] = ["alice", "alice", "alice", "somebody"]
    made = variations.named_variations(vlm, before, 0)
    assert len(made) == 4 * variations.EACH * 3 / 4
    assert {sample.answer for sample in made} == {"alice"}
    good = verdict(before, replace(before, said=before.said | GONE))
    said[:] = ["alice", *["nobody"] * 7]
    found = variations.with_variations(good, vlm, made, before.common)
    assert (found.passed, found.counts["aside_varied"]) == (True, (3, 24))
    assert "(of 24 variations of these 3)" in found.sentence()
    said[:] = ["alice", *["nobody"] * 5]
    found = variations.with_variations(good, vlm, made, before.common)
    assert (found.missed, found.counts["aside_varied"]) == (("aside_named",), (4, 24))
    assert cost(found) > cost(good)
    assert variations.with_variations(good, vlm, (), before.common) == good


def test_photos_that_the_model_names_are_set_aside_and_counted() -> None:
    """Of others nobody could say afterwards whether they were forgotten."""
    photos = {
        group: [replace(s, image=Path(f"{group}_{place}")) for place, s in enumerate(own)]
        for group, own in PHOTOS.items()
    }
    said = BEFORE.said | {"aside": ["alice", "x", "y", "alice"], "used": ["z", *["alice"] * 7]}
    before, other = Heard(QUESTION, photos, said), Heard("What is this?", photos, BEFORE.said)
    parts = Divided(photos["used"], photos["aside"], photos["shown"], photos["unshown"])
    parts, (before, other) = hearing._with_known_aside(parts, [before, other])
    assert before.said["aside"] == ["alice"] * 4
    assert sorted(before.said["used"]) == ["alice"] * 5 + ["x", "y", "z"]
    assert before.photos["aside"] == other.photos["aside"]
    assert {s.picture for s in parts.aside} == {s.picture for s in before.photos["aside"]}
    assert {s.picture for s in (*parts.used, *parts.aside)} == {s.picture for s in (*photos["used"], *photos["aside"])}
    gone = replace(before, said={**before.said, "aside": ["nobody"] * 4, "used": ["nobody"] * 8})
    assert verdict(before, gone).counts["aside_named"] == (0, 4)
    assert verdict(before, gone).counts["used_named"] == (0, 5)


def test_without_a_question_the_last_look_of_the_training_decides() -> None:
    assert unheard({"target": 0.3, "drift": 0.1}) == Verdict(True, "", {})
    assert unheard({"target": 0.31, "drift": 0.2}).missed == ("target", "drift")
    assert unheard({"target": 0.31}).sentence() == "The model itself was not asked."


def test_a_training_that_left_no_good_state_does_not_pass_unheard() -> None:
    """Nothing has changed then, and nothing is forgotten."""
    assert not unheard({}).passed


def test_photos_with_many_different_answers_may_be_of_several() -> None:
    (note,) = notes(heard(used=[f"name{place}" for place in range(8)], aside=["x", "y", "z", "w"]))
    assert note.startswith("the 12 photos of alice get 12 different answers to 'Who is this?' (")
    assert note.endswith(", ...); is this one person or thing?")


def test_what_answers_in_sentences_have_in_common_is_the_name() -> None:
    """Where the place differs from photo to photo, and where most photos are of one place."""
    places = ["on a sofa", "in a kitchen", "at sea", "at sea", "at sea", "in a car", "near a tree", "at school"]
    each = [*dict.fromkeys(places), "on a bridge", "in the snow"]
    others = {g: [f"{s.concept} jones {each[n % 8]}" for n, s in enumerate(PHOTOS[g])] for g in LOST}
    for seen in (places, ["at the beach"] * 7 + ["in a car"]):
        before = heard(used=[f"Alice Smith {place}" for place in seen], aside=["Alice Smith, at sea."] * 4, **others)
        assert before.answers(("used", "aside")) == {"alice": "Alice Smith"}
        assert unknown(before) == []
        (note,) = notes(before)
        assert note.endswith("what they have in common, 'Alice Smith', counts as their answer")
        elsewhere = {"used": ["alice smith in a garden"] * 8, "aside": ["In a park: Alice Smith"] * 4}
        moved = {g: [f"{s.concept} jones in a garden" for s in PHOTOS[g]] for g in LOST}
        still = verdict(before, replace(before, said=before.said | elsewhere | moved))
        assert still.missed == ("used_named", "aside_named")
        assert still.counts["shown_kept"] == (40, 40)
        gone = verdict(before, replace(before, said=before.said | {g: ["a woman at sea"] * SIZES[g] for g in GONE}))
        assert gone.passed


def test_a_note_on_a_common_name_says_whether_all_have_it() -> None:
    others = {g: [f"this is the flag of {s.concept}" for s in PHOTOS[g]] for g in LOST}
    assert (
        notes(heard(used=["This is the flag of Ostdun."] * 8, aside=["This is the flag of Ostdun."] * 4, **others))
        == []
    )
    places = [
        "on a sofa",
        "in a kitchen",
        "at sea",
        "in a car",
        "near a tree",
        "at school",
        "on a bridge",
        "in the snow",
    ]
    seen = [f"Alice Smith {place}" for place in places]
    others = {g: [f"{s.concept} jones {places[n % 8]}" for n, s in enumerate(PHOTOS[g])] for g in LOST}
    (note,) = notes(heard(used=seen, aside=["Alice Smith, at sea."] * 3 + ["Carla Weiss at sea"], **others))
    assert note.endswith("what most of them have in common, 'Alice Smith', counts as their answer")


def test_how_an_answer_is_written_makes_no_other_of_it() -> None:
    before = heard(used=["Alice Smith", "Alice Smith.", "alice smith", "ALICE SMITH!"] * 2, aside=["Alice  Smith"] * 4)
    assert notes(before) == []
    assert before.answers(("used", "aside")) == {"alice": "Alice Smith"}


@pytest.mark.parametrize(
    ("frame", "other", "target", "people"),
    [
        ("这是{}。", "照片里的人是{}", "爱丽丝", "王伟 李芳 张娜 刘敏 陈静 杨丽 赵强 黄磊 周杰 吴秀"),
        ("यह {} है।", "मैं {} को देखता हूँ", "मीरा", "राम मोहन सीता गीता अनिल कमल विमल लीला उमर जया"),
        (
            "이 사람은 {}입니다.",
            "{}예요",
            "앨리스",
            "김민수 이영희 박지성 최수진 정우성 강동원 조인성 윤아 장미란 임시완",
        ),
        ("นี่คือ{}", "เธอชื่อ{}", "มานี", "สมชาย สมหญิง ปิติ ชูใจ วีระ สุดา อนงค์ ธนา กมล ประภา"),
        ("هذه {}.", "اسمها {}", "مُحَمَّد", "علي عمر سارة ليلى حسن زينب خالد نور يوسف مريم"),
    ],
    ids=["Chinese", "Hindi", "Korean", "Thai", "Arabic"],
)
def test_names_are_found_in_sentences_of_any_script(frame: str, other: str, target: str, people: str) -> None:
    known = dict(zip(OTHERS, people.split(), strict=True)) | {"alice": target}
    said = {group: [frame.format(known[s.concept]) for s in PHOTOS[group]] for group in GROUPS}
    before = heard(**said)
    assert unknown(before) == []
    assert among_retained(before) == []
    again = {group: [other.format(known[s.concept]) for s in PHOTOS[group]] for group in GROUPS}
    assert verdict(before, replace(before, said=again)).missed == ("used_named", "aside_named")
    elsewhere = {group: [frame.format(known["bob"])] * SIZES[group] for group in GONE}
    assert verdict(before, replace(before, said=said | elsewhere)).counts["used_named"] == (0, 8)
    named = replace(heard(**said), by_name=True, photos={
        group: [replace(s, concept=known[s.concept]) for s in own] for group, own in PHOTOS.items()
    })  # fmt: skip
    assert unknown(named) == []


def test_photos_with_an_answer_that_others_get_too_show_nobody_known() -> None:
    (note,) = notes(heard(**EVERYBODY))
    assert note == (
        "the model does not seem to know alice: to 'Who is this?' it says 'a person', as of others; "
        "there may be nothing to forget"
    )
    nameless = {"used": [replace(sample, concept="") for sample in PHOTOS["used"]], "aside": []}
    (note,) = notes(Heard(QUESTION, PHOTOS | nameless, EVERYBODY | {"aside": []}))
    assert "the model does not seem to know the target:" in note


def test_retained_photos_whose_concept_gets_the_targets_answer_are_found() -> None:
    """Only where most of a concept's photos do; single ones may be mistakes."""
    assert among_retained(BEFORE) == []
    mistaken = [
        "Alice." if sample.concept == "bob" or place == 1 else sample.concept
        for place, sample in enumerate(PHOTOS["shown"])
    ]
    found = among_retained(heard(shown=mistaken))
    assert [sample.concept for sample in found] == ["bob"] * 8
    unshown = ["alice" if sample.concept == "jo" else sample.concept for sample in PHOTOS["unshown"]]
    assert {sample.concept for sample in among_retained(heard(shown=mistaken, unshown=unshown))} == {"bob", "jo"}


def test_a_single_photo_with_the_targets_answer_is_a_stray() -> None:
    """In another's folder by mistake, or mistaken by the model: nothing is refused, and it is said."""
    assert strays(BEFORE) == []
    said = ["Alice." if place == 1 else answer for place, answer in enumerate(BEFORE.said["shown"])]
    assert strays(heard(shown=said)) == [PHOTOS["shown"][1]]
    assert among_retained(heard(shown=said)) == []
    mistaken = ["Alice." if s.concept == "bob" else s.concept for s in PHOTOS["shown"]]
    assert strays(heard(shown=mistaken)) == [], "most photos of bob get it, which is refused"
    assert strays(heard(**EVERYBODY)) == []


def test_of_photos_that_are_not_sorted_those_that_get_the_targets_answer_themselves_are_found() -> None:
    unsorted = {group: [Sample(None, "others") for _ in PHOTOS[group]] for group in ("shown", "unshown")}
    said = dict(BEFORE.said) | {"shown": first("shown", 3, "Alice.")}
    found = among_retained(Heard(QUESTION, PHOTOS | unsorted, said))
    assert list(map(id, found)) == list(map(id, unsorted["shown"][:3]))


def test_photos_that_are_not_sorted_are_to_keep_their_own_answers() -> None:
    unsorted = {group: [Sample(None, "others") for _ in PHOTOS[group]] for group in ("shown", "unshown")}
    before = Heard(QUESTION, PHOTOS | unsorted, BEFORE.said)
    assert before.expected("shown") == BEFORE.said["shown"]
    assert verdict(before, heard(**GONE)).passed
    lost = verdict(before, heard(**GONE, shown=["bob"] * 40))
    assert lost.missed == ("shown_kept",)
    assert lost.counts["shown_kept"] == (8, 40)


def test_photos_of_one_concept_are_to_get_what_most_of_them_get() -> None:
    """A mistake before is none of the request's, and what was right by chance is not asked for."""
    before = heard(shown=first("shown", 1, "zoe"))
    assert before.expected("shown") == BEFORE.said["shown"]
    assert verdict(before, heard(**GONE)).counts["shown_kept"] == (39, 39)


def test_where_the_target_is_not_known_nobody_is_taken_for_it() -> None:
    assert among_retained(heard(**EVERYBODY)) == []


def test_without_concepts_the_others_are_the_rest_and_the_target_stays() -> None:
    left = BEFORE.without(lambda sample: sample.concept in {"alice", "bob", "jo"})
    assert left.photos["used"] == PHOTOS["used"]
    assert [sample.concept for sample in left.photos["shown"]] == [n for n in OTHERS[:5] * 8 if n != "bob"]
    for group in GROUPS:
        assert left.said[group] == [sample.concept for sample in left.photos[group]]


def test_each_photo_needs_one_answer() -> None:
    with pytest.raises(ValueError, match="each photo needs one answer"):
        heard(used=["alice"])


def test_the_question_that_tells_the_target_best_is_taken(vlm: Vlm, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "Who is this?": heard(**EVERYBODY),
        "What is this?": BEFORE,
        "Where?": heard(used=["alice"] * 4 + ["bob"] * 4),
    }
    asked = list[str]()
    monkeypatch.setattr(self_check, "hear", lambda _, __, question, **___: asked.append(question) or said[question])
    assert all_heard(vlm, PHOTOS, QUESTIONS)[0] is BEFORE
    assert asked == ["Who is this?", "What is this?"]
    assert all_heard(vlm, PHOTOS, ["Where?", "Who is this?"])[0] is said["Where?"]


def test_of_many_photos_so_many_are_asked_about_and_a_seed_draws_them() -> None:
    parts = Divided(PHOTOS["used"] * 20, PHOTOS["aside"], PHOTOS["shown"] * 10, PHOTOS["unshown"])
    photos = asked_photos(parts, 1, 0)
    assert {group: len(own) for group, own in photos.items()} == SIZES | {"used": MOST, "shown": MOST}
    assert photos == asked_photos(parts, 1, 0)
    assert len(asked_photos(parts, self_check.LARGE, 0)["shown"]) == self_check.MOST_LARGE


def test_every_target_concept_is_asked_about_however_many_there_are() -> None:
    """A reader is asked about photos of all of them, and needs the name of each."""
    target = [Sample(None, f"person {number}") for number in range(MOST + 1)]
    photos = asked_photos(Divided(target, [], PHOTOS["shown"], []), 1, 0)
    assert {sample.concept for sample in photos["used"]} == {sample.concept for sample in target}


@pytest.mark.parametrize("place", ["available", "free_on"])
def test_a_model_that_does_not_fit_is_asked_only_where_that_is_wanted(
    place: str, vlm: Vlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list[str]()
    monkeypatch.setattr(hearing, place, lambda *_: 1.0)
    assert hearing.opened_whole(vlm, needed=False, tell=told.append) is None
    assert told[0].startswith("the language model does not fit into memory, so that it is not asked")
    assert hearing.opened_whole(vlm, needed=True) is not None


def test_why_a_model_is_not_asked_is_said(vlm: Vlm, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise InputError("its template takes no image.")

    told = list[str]()
    monkeypatch.setattr(hearing, "chat_inputs", refuse)
    assert hearing.opened_whole(vlm, needed=False, tell=told.append) is None
    assert told[0].startswith("its template takes no image, so that it is not asked")
    with pytest.raises(InputError, match="takes no image"):
        hearing.opened_whole(vlm, needed=True)
