"""Forgetting against keeping, a point for each method -> one SVG that reads on light and dark pages."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 480, 56, 44, 12, 24
STYLE = Markup(
    "<style>text{font:12px system-ui,sans-serif;fill:#565c63}.name{fill:#1c1e21}.grid{stroke:#dcdcd8}"
    ".front{fill:none;stroke:#69717a;stroke-dasharray:4 3}circle{fill:#2457a6}.best{fill:#b5450b}"
    ".given{fill:none;stroke:#1d6b41;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#a9aeb4}.name{fill:#e6e7e5}.grid{stroke:#34383d}"
    "circle{fill:#84b4f4}.best{fill:#f2945c}.given{stroke:#74c89b}}</style>"
)


LETTER = 8  # about how wide a letter of a name is


@dataclass(frozen=True)
class Mark:
    """A method: what it forgot and what it kept, both in [0, 1]; `given` marks models that no method made."""

    name: str
    forgotten: float
    kept: float
    given: bool = False


def front(points: Sequence[Mark]) -> list[Mark]:
    """The points that no other one beats in both, from the least forgotten to the most."""
    best: list[Mark] = []
    for point in sorted(points, key=lambda p: (-p.forgotten, -p.kept)):
        if not best or point.kept > best[-1].kept:
            best.append(point)
    return best[::-1]


def _low(values: Sequence[float]) -> float:
    """Where an axis begins: a multiple of .2 at or below all values, at least 0 and at most .6."""
    return min(max(math.floor(5 * min(values, default=0.0)) / 5, 0.0), 0.6)


def _share(value: float, low: float) -> float:
    return (min(max(value, low), 1.0) - low) / (1 - low)


def _names(points: Sequence[tuple[str, float, float]]) -> list[tuple[float, float, str]]:
    """Where each name of (name, x, y) stands, with its anchor: beside its point, above or below it, else further down.

    The first place that lies within the figure and on no point and no other name.
    """
    taken = [(x - 6, y - 6, x + 6, y + 6) for _, x, y in points]
    found = []
    for name, x, y in points:
        wide = LETTER * len(name)
        beside = [(x + 9, y + 4, "start"), (x - 9, y + 4, "end"), (x, y - 9, "middle"), (x, y + 17, "middle")]
        for at, line, anchor in [*beside, *((x + 9, y + 17 + 13 * row, "start") for row in range(len(points)))]:
            left = at - wide * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
            box = (left, line - 10, left + wide, line + 3)
            free = all(box[2] <= o[0] or o[2] <= box[0] or box[3] <= o[1] or o[3] <= box[1] for o in taken)
            if free and box[0] >= LEFT and box[2] <= WIDTH:
                break
        taken.append(box)
        found.append((at, line, anchor))
    return found


def draw(points: Sequence[Mark], title: str) -> str:
    """The SVG as text; axes that end at 1, names beside the points, and the front of the methods dashed."""
    left, bottom = (_low(values) for values in ([p.forgotten for p in points], [p.kept for p in points]))

    def place(point: Mark) -> tuple[float, float]:
        across, up = _share(point.forgotten, left), _share(point.kept, bottom)
        return round(LEFT + (WIDTH - LEFT - RIGHT) * across, 1), round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - up), 1)

    parts = [STYLE]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        across, up = left + share * (1 - left), bottom + share * (1 - bottom)
        x, y = place(Mark("", across, up))
        parts.append(
            Markup('<path class="grid" d="M{} {}H{}M{} {}V{}"/>').format(
                LEFT, y, WIDTH - RIGHT, x, TOP, HEIGHT - BOTTOM
            )
        )
        parts.append(Markup('<text x="{}" y="{}" text-anchor="end">{:.0f} %</text>').format(LEFT - 6, y + 4, 100 * up))
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="middle">{:.0f} %</text>').format(
                x, HEIGHT - BOTTOM + 18, 100 * across
            )
        )
    parts.append(
        Markup('<text x="{}" y="{}" text-anchor="end">to the right: forgotten (1 - recognition)</text>').format(
            WIDTH - RIGHT, HEIGHT - 6
        )
    )
    parts.append(Markup('<text x="{}" y="{}">upwards: kept (others, scene, appearance)</text>').format(6, HEIGHT - 6))
    best = front([point for point in points if not point.given])
    line = " ".join("{},{}".format(*place(point)) for point in best)
    parts.append(Markup('<polyline class="front" points="{}"/>').format(line))
    for point, (x, y, anchor) in zip(points, _names([(p.name, *place(p)) for p in points]), strict=True):
        kind = "given" if point.given else "best" if point in best else ""
        parts.append(Markup('<circle class="{}" cx="{}" cy="{}" r="5"/>').format(kind, *place(point)))
        parts.append(
            Markup('<text class="name" x="{}" y="{}" text-anchor="{}">{}</text>').format(x, y, anchor, point.name)
        )
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" role="img"><title>{}</title>{}</svg>\n'
        ).format(WIDTH, HEIGHT, title, Markup("").join(parts))
    )
