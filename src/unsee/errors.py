"""The one exception that a user's input can cause. Standard library only."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input from outside: one sentence with the file, row or value, what was expected and what to do.

    The command line prints it and exits with 2; in Python it is an ordinary `ValueError`.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a closed list, with the nearest one that is."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names)}."
    return InputError(f"unknown {kind} {name!r}: {hint}")
