"""What is known of single model families; the general algorithm lives in locate.py and features.py.

Standard library only, so that `unsee ls families` is fast. `docs/families.md` is written from this table.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One family: what users should know of it, and why it is refused where it is."""

    title: str
    note: str = ""
    refused: str = ""
    tested: bool = True


FAMILIES: dict[str, Family] = {}
