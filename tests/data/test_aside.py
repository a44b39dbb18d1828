"""Setting photos aside: a partition, as many as are said, and whole concepts of others where there are enough."""

from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from unsee.data.aside import FEWEST, MOST_CONCEPTS, MOST_PHOTOS, SHARE, SHARE_OTHERS, Divided, divided
from unsee.records import Sample

theorem = settings(deadline=None, derandomize=True, max_examples=100)
seeds = st.integers(0, 10**6)
requests = st.lists(st.integers(1, 12), min_size=1, max_size=4)
others = st.lists(st.integers(1, 12), min_size=0, max_size=30)


def photos(sizes: list[int], name: str) -> list[Sample]:
    """So many photos of each concept, those of one concept apart from each other."""
    numbered = [(number, concept) for concept, size in enumerate(sizes) for number in range(size)]
    return [Sample(None, f"{name} {concept}", f"{number}") for number, concept in sorted(numbered)]


def per_concept(samples: list[Sample]) -> Counter[str]:
    return Counter(sample.concept for sample in samples)


def places(parts: Divided) -> list[list[int]]:
    return [list(map(id, part)) for part in (parts.used, parts.aside, parts.shown, parts.unshown)]


@theorem
@given(requests, others, seeds)
def test_every_photo_is_in_one_part_of_its_side_and_in_its_order(
    target: list[int], retained: list[int], seed: int
) -> None:
    asked, kept = photos(target, "target"), photos(retained, "other")
    parts = divided(asked, kept, seed)
    for whole, one, two in ((asked, parts.used, parts.aside), (kept, parts.shown, parts.unshown)):
        first, second = set(map(id, one)), set(map(id, two))
        assert not first & second
        assert [id(sample) for sample in whole if id(sample) in first] == list(map(id, one))
        assert [id(sample) for sample in whole if id(sample) in second] == list(map(id, two))
        assert len(one) + len(two) == len(whole)


@theorem
@given(requests, seeds)
def test_a_fifth_of_each_concept_is_set_aside_two_of_four_one_of_two_and_none_of_one(
    target: list[int], seed: int
) -> None:
    parts = divided(photos(target, "target"), [], seed)
    aside, used = per_concept(parts.aside), per_concept(parts.used)
    for concept, size in per_concept(photos(target, "target")).items():
        expected = 0 if size == 1 else 1 if size < 4 else max(FEWEST, size // SHARE)
        assert aside[concept] == expected
        assert used[concept] >= size / 2  # no concept is without photos to train on


@theorem
@given(st.lists(st.integers(2, 12), min_size=SHARE_OTHERS, max_size=80), seeds)
def test_of_many_concepts_a_sixth_is_not_shown_at_all(retained: list[int], seed: int) -> None:
    parts = divided([], photos(retained, "other"), seed)
    shown, unshown = per_concept(parts.shown), per_concept(parts.unshown)
    assert not shown.keys() & unshown.keys()
    assert len(unshown) == min(MOST_CONCEPTS, len(retained) // SHARE_OTHERS)


@theorem
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=SHARE_OTHERS - 1) | st.integers(1, 900).map(lambda n: [1] * n),
    seeds,
)
def test_of_few_concepts_or_photos_that_are_not_sorted_a_sixth_of_the_photos_is_not_shown(
    retained: list[int], seed: int
) -> None:
    count = sum(retained)
    parts = divided([], photos(retained, "other"), seed)
    assert len(parts.unshown) == (0 if count < 2 * SHARE_OTHERS else min(MOST_PHOTOS, count // SHARE_OTHERS))


@theorem
@given(requests, others, seeds)
def test_the_same_seed_divides_alike(target: list[int], retained: list[int], seed: int) -> None:
    asked, kept = photos(target, "target"), photos(retained, "other")
    assert places(divided(asked, kept, seed)) == places(divided(asked, kept, seed))


def test_other_seeds_divide_otherwise() -> None:
    asked, kept = photos([9], "target"), photos([3] * 20, "other")
    found = [places(divided(asked, kept, seed)) for seed in range(5)]
    assert len({str(parts) for parts in found}) == 5


@theorem
@given(requests, others, others, seeds)
def test_what_is_set_aside_of_the_target_has_nothing_to_do_with_the_others(
    target: list[int], one: list[int], two: list[int], seed: int
) -> None:
    asked = photos(target, "target")
    parts = [divided(asked, photos(retained, "other"), seed) for retained in (one, two)]
    assert list(map(id, parts[0].aside)) == list(map(id, parts[1].aside))


@theorem
@given(st.lists(st.integers(0, 5), min_size=4, max_size=20), seeds)
def test_a_photo_that_is_asked_about_in_several_samples_is_in_one_part(photo: list[int], seed: int) -> None:
    """Otherwise what is set aside would have been trained on."""
    samples = [Sample(Path(f"{number}.png"), "alice", str(place)) for place, number in enumerate(photo)]
    parts = divided(samples, samples, seed)
    for one, two in ((parts.used, parts.aside), (parts.shown, parts.unshown)):
        assert not {sample.image for sample in one} & {sample.image for sample in two}
