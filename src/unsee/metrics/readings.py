"""What of an answer is compared, by name, as official code of benchmarks reads it."""

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from unsee.records import Sample


def first_character(said: str, _: Sample) -> str:
    """The first character in capitals, by which "Because" chooses the option B. Source: MLLMU-Bench's code."""
    return said.strip()[:1].upper()


def nearest_option(said: str, sample: Sample) -> str:
    """The option most like the answer, whatever that is. Source: UMU-Bench's code, where people are real."""
    return get_close_matches(said, sample.options, 1, 0.0)[0] if sample.options else said


def first_sentence(said: str, _: Sample) -> str:
    """Up to the first full stop; all where there is none."""
    return said[: said.index(".") + 1] if "." in said else said


def to_full_stop(said: str, _: Sample) -> str:
    """The answer up to its first full stop; empty if there is none. Source: FIUBench's code."""
    return said[: said.find(".") + 1]


READINGS: Mapping[str, Callable[[str, Sample], str]] = {
    "": lambda said, _: said,
    "first character": first_character,
    "nearest option": nearest_option,
    "first sentence": first_sentence,
    "to full stop": to_full_stop,
}
