"""What the parser says of mistyped options, in a box of many lines, as one sentence."""

import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher, get_close_matches

from unsee.errors import shown

KINDS = {"INT": "a whole number", "FLOAT": "a number", "PATH": "a path", "STR": "a text"}
LIKE = 0.6  # from which on an option may be what was meant


def sentence(told: str, prog: str, options: Iterable[str]) -> str:
    """What was mistyped, what was expected, and where help is; `options` are the names that the command takes.

    `told` is the parser's box, made so wide that no line of it was broken.
    """
    lines = list(_inside(told))
    said = next((said for said in _each(lines, prog, list(options)) if said), "")
    return f"{said or ' '.join(line.strip() for line in lines if line.strip())} {prog} --help shows the options."


def _inside(told: str) -> Iterator[str]:
    """The lines within the box, without its sides and its heading, up to where it leads to the help."""
    for line in told.split("\n")[1:]:
        inside = line[2:].rstrip("│ ")
        if inside.startswith("For full helptext"):
            return
        if not set(inside) <= set("─-╯"):
            yield inside


def _each(lines: list[str], prog: str, options: list[str]) -> Iterator[str]:
    """What each kind of box comes to, empty where it is another kind; first what makes the others follow."""
    text = "\n".join(lines)
    yield _unknown(text, prog, options)
    if names := re.findall(r"^ {4}(--[\w-]+|\S+)", text.partition("Missing from")[2], re.MULTILINE):
        yield f"{prog} needs {_listed(list(map(_named, names)), 'and')}; give {'them' if len(names) > 1 else 'it'}."
    if match := re.search(r"Missing value for argument '(.+?)'", text):
        yield f"{match[1]} has no value; write one behind it."
    if match := re.search(r"invalid choice (.+) for argument '(.+?)'\. Expected one of \((.*)\)", text):
        choices = re.findall(r"'(.*?)'", match[3])
        near = get_close_matches(match[1].strip("'"), choices, n=1)
        meant = f"did you mean {near[0]!r}?" if near else f"expected {_listed(choices, 'or')}."
        yield f"{match[2]} is {match[1]}; {meant}"
    if match := re.search(r"Error parsing (\S+): (.+)", text):
        yield _value(match[1], match[2], text)


def _unknown(text: str, prog: str, options: list[str]) -> str:
    match = re.search(r"Unrecognized options:\s+(.+)", text)
    if match is None:
        return ""
    word = re.split(r",? ", match[1].strip())[0]
    if not word.startswith("-"):
        return f"{prog} has no place for {shown(word)}; leave it out, or put quotes around what belongs together."
    near = max(options, key=lambda option: _likeness(word, option), default="")
    hint = f"did you mean {near}?" if _likeness(word, near)[0] >= LIKE else "leave it out."
    return f"{shown(word)} is no option of {prog}; {hint}"


def _likeness(word: str, option: str) -> tuple[float, bool]:
    """How much alike two options are, from 0 to 1, and whether they have the same letters."""
    one, other = word.strip("-"), option.strip("-")
    return SequenceMatcher(None, one, other).ratio(), sorted(one) == sorted(other)


def _value(option: str, why: str, text: str) -> str:
    """Of a value that is of another kind; else the reason, which the settings' own check gave."""
    kinds = re.search(rf"^ {{4}}{re.escape(option)} (\S+)", text, re.MULTILINE)
    values = re.findall(r"'([^']*)'\]?$", why.rstrip("."))
    if kinds is None or not values:
        return why if why.endswith(".") else f"{option}: {why}."
    words = [word for part in kinds[1].split("|") if part != "{None}" for word in part.strip("{}").split(",")]
    return f"{option} is {shown(values[-1])}; expected {_listed([KINDS.get(word, word) for word in words], 'or')}."


def _named(name: str) -> str:
    return f"one of {name.strip('{}').replace(',', ', ')}" if name.startswith("{") else name


def _listed(words: list[str], last: str) -> str:
    return f"{', '.join(words[:-1])} {last} {words[-1]}" if len(words) > 1 else words[0]
