"""The exceptions that end a command with a sentence. Standard library only."""

from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral
from operator import index
from pathlib import Path
from typing import SupportsIndex


class InputError(ValueError):
    """Bad input from outside: one sentence with the file, row or value, what was expected and what to do.

    The command line prints it and exits with 2; in Python it is an ordinary `ValueError`.
    """


class UnaskableError(InputError):
    """A question that a model cannot be asked: no template, no room. It need not keep the model from forgetting."""


class MissedError(Exception):
    """A job that ran and did not reach its aim: what was measured, and what to try, in a few sentences.

    The command line prints it and exits with 1; nothing was written.
    """


class OutputError(InputError):
    """An output could not be written or may not be replaced; what was to be in it is none the worse."""


MOST_WHOLE = 1 << 31  # nothing of which there are as many or more can be made
LONGEST = 80  # characters of somebody's value in a sentence


def shown(value: object) -> str:
    """A value as an error sentence quotes it, cut off behind LONGEST characters."""
    text = repr(value[: LONGEST + 1] if isinstance(value, str) else value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a closed list, with the nearest one that is."""
    names = sorted(known)
    if len(name) > LONGEST:
        return InputError(f"unknown {kind} {shown(name)}: choose one of {', '.join(names)}.")
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names)}."
    return InputError(f"unknown {kind} {name!r}: {hint}")


def check_kind(name: str, value: object, kinds: type | tuple[type, ...], expected: str) -> None:
    """Raises InputError where a value that is called `name` is of another kind than these; a bool is no number."""
    fits = isinstance(value, Integral if kinds is int else kinds)  # of other libraries too
    if not fits or (isinstance(value, bool) and kinds is int):
        raise InputError(f"{name} is {shown(value)}; expected {expected}.")


def check_seed(seed: SupportsIndex, name: str = "seed") -> int:
    """The seed as an int. Raises InputError for what no generator takes."""
    expected = f"a whole number from 0 to {(1 << 32) - 1}"
    check_kind(name, seed, int, expected)
    if not 0 <= index(seed) < 1 << 32:
        raise InputError(f"{name} is {seed}; expected {expected}.")
    return index(seed)


def check_file(file: Path, expected: str) -> None:
    """Raises InputError for a folder, a pipe or a device, which would be read for ever; what is not there passes."""
    if file.exists() and not file.is_file():
        raise InputError(f"{file} is no file (a folder, a pipe or a device); expected {expected}.")


def check_ranges(
    settings: object,
    *,
    above: Iterable[str] = (),
    at_least_0: Iterable[str] = (),
    at_least_1: Iterable[str] = (),
    shares: Iterable[str] = (),
) -> None:
    """Raises InputError for the first of these fields of `settings` that is not a finite number in its range.

    Those that are `at_least_1` are whole.
    """
    for fields, low, kinds, expected in (
        (above, 1e-12, (int, float), "a number above 0"),
        (at_least_0, 0, (int, float), "a number of 0 or more"),
        (at_least_1, 1, (int,), "a whole number of 1 or more"),
    ):
        for field in fields:
            value = getattr(settings, field)
            fits = isinstance(value, kinds) and not isinstance(value, bool)
            if not fits or not low <= value < (MOST_WHOLE if isinstance(value, int) else float("inf")):
                raise InputError(f"{field} is {shown(value)}; expected {expected}.")
    for field in shares:
        value = getattr(settings, field)
        if not isinstance(value, int | float) or not 0 <= value <= 1:
            raise InputError(f"{field} is {shown(value)}; expected a share from 0 to 1.")


def check_share(share: float) -> None:
    """Raises InputError unless it is above 0 and at most 1."""
    if not 0 < share <= 1:
        raise InputError(f"share is {share}; expected a share of the layers above 0, and at most 1.")
