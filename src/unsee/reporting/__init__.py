"""Result -> one self-contained HTML page. Never imports torch."""

from unsee.reporting.page import render, write

__all__ = ["render", "write"]
