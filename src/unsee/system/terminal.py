"""Text from elsewhere on a terminal."""

import os
import unicodedata

# Characters that reorder what follows, or that begin a line in some programs.
TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
NO_TEXT = ("Cc", "Cs")  # categories of Unicode: control characters, and halves, as of bytes that are no text


def _steers(character: str) -> bool:
    """Whether a character could move the cursor or turn the text round, line breaks left out."""
    return character != "\n" and (unicodedata.category(character) in NO_TEXT or character in TURNING)


def printable(text: str) -> str:
    """The text with every character written out that could steer a terminal, but line breaks."""
    return "".join(repr(character)[1:-1] if _steers(character) else character for character in text)


def one_line(text: str) -> str:
    """`printable`, with line breaks written out too."""
    return printable(text).replace("\n", r"\n")


def printable_json(text: str) -> str:
    """The same JSON, with every character that could steer a terminal written as JSON writes it."""
    return "".join(f"\\u{ord(character):04x}" if _steers(character) else character for character in text)


def is_text(text: str) -> bool:
    """Whether a text can be written: not where it holds half a character, as JSON may, or bytes that are no text."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def as_text(name: str) -> str:
    """A name that can be written: of a file's name, bytes that are no text become the sign for what is unknown."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def speaks() -> bool:
    """Whether this process is the one of several that speaks, as their launcher numbers them."""
    return os.environ.get("RANK", "0") == "0"
