"""How texts are written the same way before they are compared: one rule for every measure of ours.

Source: ours. Differences of writing would else count as not known, that is, as forgotten.
"""

import unicodedata

APOSTROPHES = "\u2018\u2019\u201a\u201b\u02bc\u02b9`\u00b4\u2032"
PLAIN = dict.fromkeys(map(ord, APOSTROPHES), "'")  # before NFKC, which makes two signs of some of these
KEPT = "-+%#*/\\@&_"  # punctuation at an end that says something


def normal(text: str) -> str:
    """The text in one way of writing: NFKC, without case, with plain quotes and dashes and single spaces.

    Signs of format that cannot be seen are left out, and so are the punctuation marks at either end; a text of nothing
    else stays as it is.
    """
    composed = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text.translate(PLAIN)).casefold())
    plain = " ".join("".join(_plain(sign) for sign in composed).split())
    first, last = 0, len(plain)
    while first < last and _ends(plain[first]):
        first += 1
    while last > first and _ends(plain[last - 1]):
        last -= 1
    return plain[first:last] or plain


def _plain(sign: str) -> str:
    kind = unicodedata.category(sign)
    if kind in ("Pi", "Pf"):
        return '"'
    return "-" if kind == "Pd" or sign == "\u2212" else "" if kind == "Cf" else PLAIN.get(ord(sign), sign)


def _ends(sign: str) -> bool:
    return sign.isspace() or (unicodedata.category(sign).startswith("P") and sign not in KEPT)
