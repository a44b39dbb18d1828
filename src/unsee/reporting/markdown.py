"""Text from elsewhere in Markdown."""

import html
import re

MEANT = re.compile(r"([\\`*\[\]|~])")  # what Markdown would read; an underscore within a word it does not


def escaped(text: str) -> str:
    """The text as one line of Markdown that says nothing but the text: no HTML, no link, no picture, no new cell."""
    line = " ".join(text.split())
    line = MEANT.sub(r"\\\1", line).replace("://", ":\\//").replace("www.", "www\\.")
    return html.escape(line, quote=False)
