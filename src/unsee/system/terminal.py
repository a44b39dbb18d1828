"""Text from elsewhere on a terminal."""

import unicodedata

TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # characters that reorder what follows


def printable(text: str) -> str:
    """The text with every character written out that could move the cursor or turn the text round, but line breaks."""
    return "".join(
        repr(character)[1:-1]
        if character != "\n" and (unicodedata.category(character) == "Cc" or character in TURNING)
        else character
        for character in text
    )
