"""Numbers as text and as inline SVG: markup out, all text in it escaped. The page's CSS gives the colours."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from unsee.records import MapPoint, Score

PANEL = 400  # side of one map panel, in units of its own coordinates
LANE = 11  # pixels between two phases of one row of the dot plot
TICKS = (0, 25, 50, 75, 100)
PERCENT = "\u202f%"
DASH = "\u2013"

_CIRCLE = "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0Z"
SHAPES = {
    "before": _CIRCLE,
    "after": "M-4.5-4.5h9v9h-9Z",
    "oracle": "M0-6L6 0L0 6L-6 0Z",
    "target": "M0-6L5.5 4.5h-11Z",
    "retained": _CIRCLE,
    "unknown": "M-4-4L4 4M4-4L-4 4",
}  # centred on 0, about 10 pixels across; each name is also the CSS class that colours it
# Units whose values lie in [0, 1]: names of unsee.metrics.measures, and what attacks get.
SHARES = (
    "accuracy", "choice", "cloze", "words", "keywords", "ROUGE-L recall", "ROUGE-L F", "ROUGE-1 F", "ROUGE-2 F",
    "BLEU", "probability", "preference", "truth ratio, min(R, 1/R)", "truth ratio, 1 - R", "judged", "share",
)  # fmt: skip
GROUPS = ("retained", "unknown", "target")  # order of drawing: the target lies on top


@dataclass(frozen=True)
class Frame:
    """The square of feature space that every panel shows: its centre and side, in units of the map."""

    x: float
    y: float
    side: float

    def place(self, point: MapPoint) -> tuple[float, float]:
        """Where a point lies in a panel; y grows downwards."""
        scale = PANEL / self.side
        return PANEL / 2 + (point.x - self.x) * scale, PANEL / 2 - (point.y - self.y) * scale


def percent(value: float, digits: int = 1) -> str:
    """A share as percent: 0.042 is "4.2 %"; a dash where it is not a finite number."""
    return f"{100 * value:.{digits}f}{PERCENT}" if math.isfinite(value) else DASH


def share(value: float) -> str:
    """Whole percent that never rounds something to nothing or to everything."""
    if 0 < value < 0.005:
        return f"under 1{PERCENT}"
    return f"over 99{PERCENT}" if 0.995 <= value < 1 else percent(value, 0)


def most(times: int, total: int) -> float:
    """The share, in [0, 1], that as few as `times` of `total` or fewer come from by chance once in twenty.

    So the true one is smaller with 95 % confidence. Source: Clopper and Pearson (1934), one side.
    """
    low, high = times / total, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        chance = sum(math.comb(total, k) * middle**k * (1 - middle) ** (total - k) for k in range(times + 1))
        low, high = (middle, high) if chance > 0.05 else (low, middle)
    return high


def number(value: float) -> str:
    """A measured number with three decimals; a dash where it is not finite."""
    return f"{value:.3f}" if math.isfinite(value) else DASH


def measured(value: float, unit: str) -> str:
    """A score as the tables show it: percent for shares and their differences, else three decimals."""
    return percent(value) if unit in SHARES or unit == "difference" else number(value)


def interval(score: Score) -> str:
    """The 95 % interval of a score, as in "2.3 to 6.1 %"."""
    low, high = (measured(end, score.unit) for end in score.ci95)
    return f"{low.removesuffix(PERCENT)} to {high}"


def power(exponent: int) -> str:
    """A power of ten, as in 10⁻⁷."""
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def small(value: float) -> str:
    """A number over many powers of ten, as in 2.4 times 10⁻⁷."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else DASH
    digits, _, exponent = f"{value:.1e}".partition("e")
    return f"{digits} \u00d7 {power(int(exponent))}"


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def facts(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """JSON as pairs of key and text, nested keys joined by dots."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from facts(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (Mapping, list, tuple)) for item in value):
        yield from facts(dict(enumerate(value)), key)
    elif isinstance(value, (Mapping, list, tuple)):
        if key:
            yield key, ", ".join(_plain(item) for item in value) or "none"
    else:
        yield key, _plain(value)


def clock(timings: Mapping[str, float]) -> list[tuple[str, str]]:
    """Timings with the unit of their name: `_s` seconds, `_mb` megabytes."""
    units = {"s": "s", "mb": "MB"}
    split = [(name.rpartition("_"), value) for name, value in timings.items()]
    return [
        (stem, f"{value:,.1f}\u202f{units[end]}") if stem and end in units else (f"{stem}{_}{end}", _plain(value))
        for (stem, _, end), value in split
    ]


def marker(name: str) -> Markup:
    """The sign of a phase or group, for a legend that names it in words beside it."""
    return Markup(
        '<svg class="key" width="14" height="14" viewBox="-7 -7 14 14" aria-hidden="true">'
        '<path class="m {name}" d="{shape}"/></svg>'
    ).format(name=name, shape=SHAPES[name])


def _grid(height: int) -> Markup:
    line = Markup('<line class="grid" x1="{at}%" x2="{at}%" y1="0" y2="{height}"/>')
    return Markup("").join(line.format(at=at, height=height) for at in TICKS)


def breakable(text: str, after: str) -> Markup:
    """The text, escaped, with a place to break the line after each `after`."""
    return Markup("{}<wbr>").format(after).join(text.split(after))


def _whisker(phase: str, y: int, low: float, high: float) -> Markup:
    return Markup('<line class="w {phase}" x1="{low:.2f}%" x2="{high:.2f}%" y1="{y}" y2="{y}"/>').format(
        phase=phase, low=low, high=high, y=y
    )


def _across(value: float) -> float:
    return 100 * min(max(value, 0.0), 1.0)


def dot_row(label: str, scores: Mapping[str, Score], phases: Sequence[str]) -> Markup:
    """One row of the dot plot: a marker and its interval for each phase, on an axis from 0 to 100 %.

    The row is as wide as its container; positions are percent of that width.
    """
    height, marks, words = LANE * (len(phases) + 1), [_grid(LANE * (len(phases) + 1))], []
    for lane, phase in enumerate(phases, start=1):
        if phase not in scores or not math.isfinite(scores[phase].value):
            continue
        score, y = scores[phase], LANE * lane
        low, high = score.ci95
        if math.isfinite(low) and math.isfinite(high):
            marks.append(_whisker(phase, y, _across(low), _across(high)))
        marks.append(
            Markup('<svg x="{x:.2f}%" y="{y}" overflow="visible"><path class="m {phase}" d="{shape}"/></svg>').format(
                x=_across(score.value), y=y, phase=phase, shape=SHAPES[phase]
            )
        )
        words.append(f"{phase} {percent(score.value)}, 95 % interval {percent(low)} to {percent(high)}")
    return Markup(
        '<svg class="dots" role="img" width="100%" height="{height}"><title>{label}</title><desc>{words}</desc>'
        "{marks}</svg>"
    ).format(height=height, label=label, words="; ".join(words), marks=Markup("").join(marks))


def axis() -> Markup:
    """The tick labels under the dot plot, in percent."""
    tick = Markup('<text x="{at}%" y="14" text-anchor="middle">{at}{unit}</text>')
    labels = (tick.format(at=at, unit=PERCENT if at else "") for at in TICKS)
    return Markup('<svg class="dots" width="100%" height="20" aria-hidden="true">{labels}</svg>').format(
        labels=Markup("").join(labels)
    )


def drawable(points: Iterable[MapPoint]) -> list[MapPoint]:
    """The points that have a place and a known group."""
    return [p for p in points if p.group in GROUPS and math.isfinite(p.x) and math.isfinite(p.y)]


def frame(points: Sequence[MapPoint]) -> Frame:
    """The smallest square around all points, with a margin; `points` is not empty."""
    left, right = min(p.x for p in points), max(p.x for p in points)
    low, high = min(p.y for p in points), max(p.y for p in points)
    return Frame((left + right) / 2, (low + high) / 2, 1.08 * max(right - left, high - low) or 1.0)


def map_panel(points: Sequence[MapPoint], phase: str, view: Frame) -> Markup:
    """One panel of the feature map: the points of one phase, each with its concept as a tooltip."""
    shown = sorted((p for p in points if p.phase == phase), key=lambda p: GROUPS.index(p.group))
    counts = ", ".join(f"{sum(p.group == g for p in shown)} {g}" for g in reversed(GROUPS))
    sign = Markup(
        '<path class="m {group}" transform="translate({x:.1f} {y:.1f})" d="{shape}"><title>{title}</title></path>'
    )
    marks = []
    for point in shown:
        x, y = view.place(point)
        title = f"{point.concept} ({point.group})"
        marks.append(sign.format(group=point.group, x=x, y=y, shape=SHAPES[point.group], title=title))
    return Markup(
        '<svg class="map" role="img" viewBox="0 0 {side} {side}"><title>Features {phase} the edit</title>'
        "<desc>Images in the plane of the map: {counts}.</desc>{marks}</svg>"
    ).format(side=PANEL, phase=phase, counts=counts, marks=Markup("").join(marks))


def decades(values: Iterable[float]) -> tuple[int, int] | None:
    """The powers of ten around all positive values, for `log_bar`; None where there is none."""
    positive = [v for v in values if v > 0 and math.isfinite(v)]
    if not positive:
        return None
    return math.ceil(math.log10(min(positive))) - 1, math.ceil(math.log10(max(positive)))


def log_bar(value: float, span: tuple[int, int] | None) -> Markup:
    """A bar as long as log10(value) lies within `span`; empty for zero. The number stands beside it as text."""
    width = 0.0
    if span is not None and value > 0 and math.isfinite(value):
        width = 100 * (math.log10(value) - span[0]) / (span[1] - span[0])
    return Markup(
        '<svg class="bar" width="100%" height="8" aria-hidden="true"><rect class="trough" width="100%" height="8"/>'
        '<rect class="fill" width="{width:.1f}%" height="8"/></svg>'
    ).format(width=width)
