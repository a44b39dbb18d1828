"""Texts that differ in how they are written alone are the same, and others are not."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unsee.metrics.measures import measured
from unsee.metrics.normal import normal
from unsee.records import Sample

ALIKE = [
    (unicodedata.normalize("NFC", "Zoë Núñez"), unicodedata.normalize("NFD", "Zoë Núñez")),
    ("Conan O'Brien", "Conan O\u2019Brien"),
    ("tailor.", "tailor"),
    ("tailor", "Tailor!"),
    ("\u201cAda  Abel\u201d", "ada abel"),
    ("1990\u20131995", "1990-1995"),
    ("ﬁsh", "fish"),
    ("zero\u200bwidth", "zerowidth"),
]


@pytest.mark.parametrize("measure", ["accuracy", "cloze", "keywords", "words"])
@pytest.mark.parametrize(("said", "expected"), [*ALIKE, *((b, a) for a, b in ALIKE)])
def test_writing_is_no_difference(said: str, expected: str, measure: str) -> None:
    asked = Sample(None, "c", "q", expected, (expected,), measure=measure)
    assert measured(said, asked) == 1


@pytest.mark.parametrize(
    ("said", "expected"), [("", "."), ("tailor", "sailor"), ("-5", "5"), ("a b", "ab"), ("!", "?")]
)
def test_what_differs_differs(said: str, expected: str) -> None:
    assert measured(said, Sample(None, "c", "q", expected)) == 0


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.text())
def test_it_is_done_once(text: str) -> None:
    assert normal(normal(text)) == normal(text)
    assert (normal(text) == "") == (not normal(f" {text} "))
