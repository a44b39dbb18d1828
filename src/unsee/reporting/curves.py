"""The rows of a stream of requests -> one self-contained HTML page of curves."""

import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from statistics import fmean
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from unsee.reporting import figures
from unsee.reporting.page import put

WIDTH, HEIGHT, LEFT, BOTTOM = 400, 220, 34, 24  # of one panel, and its margins for the axes
DASHES = ("", "6 3", "2 3", "8 3 2 3", "1 2", "10 4", "4 2 1 2", "12 3 3 3")
PANELS = {
    "forgotten": "Questions about the forgotten, answered right",
    "named": "Photos of the forgotten that get their name",
    "first": "The person forgotten first",
    "waiting": "People whose request is still to come",
    "never": "People that no request is about",
    "scene": "Scene, on photos of everybody",
}
LAST = tuple(name for name in PANELS if name != "waiting")  # what can be said after the last request

Rows = Sequence[Mapping[str, Any]]


def _mean(rows: Rows, key: str) -> list[tuple[int, float]]:
    """(request, mean over seeds) where there is a value."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if math.isfinite(row[key]):
            found.setdefault(row["request"], []).append(row[key])
    return [(request, fmean(values)) for request, values in sorted(found.items())]


def _dash(number: int) -> str:
    return DASHES[(number + number // 8) % 8]  # the ninth line has the first one's colour and another dash


def panel(groups: Mapping[str, Rows], key: str) -> Markup:
    """One score by the number of requests, a line for each group in the order of the legend; y is 0 to 100 %."""
    last = max((row["request"] for rows in groups.values() for row in rows), default=1) or 1

    def place(request: float, value: float) -> str:
        x = LEFT + (WIDTH - LEFT - 8) * request / last
        return f"{x:.1f},{8 + (HEIGHT - BOTTOM - 8) * (1 - value):.1f}"

    parts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        x, y = place(0, share).split(",")
        parts.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(x, y, WIDTH - 8))
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{:.0f}</text>').format(LEFT - 6, float(y) + 4, 100 * share)
        )
    for request in sorted({0, last // 2, last}):
        x = place(request, 0).split(",")[0]
        parts.append(Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(x, HEIGHT - 6, request))
    for number, rows in enumerate(groups.values()):
        points = _mean(rows, key)
        if points:
            line = " ".join(place(*point) for point in points)
            parts.append(
                Markup('<polyline class="line l{}" stroke-dasharray="{}" points="{}"/>').format(
                    number % 8, _dash(number), line
                )
            )
    return Markup('<svg class="curves" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, PANELS[key], Markup("").join(parts)
    )


def key(number: int) -> Markup:
    """The piece of line that stands before a name in the legend."""
    return Markup(
        '<svg class="key" width="28" height="10" aria-hidden="true">'
        '<path class="line l{}" stroke-dasharray="{}" d="M0 5H28"/></svg>'
    ).format(number % 8, _dash(number))


def render(rows: Rows, title: str) -> str:
    """The page as HTML text. `rows` have variant, seed, request, seconds, and the scores of PANELS in [0, 1] or NaN."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["variant"], []).append(row)
    last = []
    for name, own in groups.items():
        end = max(row["request"] for row in own)
        final = [row for row in own if row["request"] == end]
        first = [row for row in own if row["request"] == 0]
        last.append(
            {
                "name": name,
                "requests": end,
                "seeds": len({row["seed"] for row in own}),
                "scores": [figures.percent(fmean(row[score] for row in final)) for score in LAST],
                "before": figures.percent(fmean(row["never"] for row in first)) if first else figures.DASH,
                "seconds": f"{fmean(row['seconds'] for row in own if row['request'] or end == 0):.0f}",
            }
        )
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = page.from_string(resources.files("unsee.reporting").joinpath("curves.html").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        names=list(groups),
        key=key,
        panels=[(text, panel(groups, score)) for score, text in PANELS.items()],
        headings=list(LAST),
        last=last,
    )


def write(rows: Rows, title: str, out: Path) -> None:
    """Writes the page to `out`: whole or not at all. Raises InputError where it cannot be written."""
    put(render(rows, title), out)
