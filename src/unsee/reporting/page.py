"""Result -> one HTML page without scripts or network. Standard library and jinja2 only."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from unsee.records import OWN, PHASES, Example, Result, Score
from unsee.reporting import figures, summary
from unsee.reporting.attempts import attempts
from unsee.system.disk import is_plain
from unsee.system.output import with_file

MARK = b'<meta name="generator" content="unsee">'  # in the head of every page
IMAGE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")
ORDER = ("recognition", "scene", "appearance", "text")
SUBSETS = ("target", "target_seen", "retained", "unshown", "stranger")
CLASSES = {summary.PASSED: "good", summary.FAILED: "bad", summary.OPEN: "open"}
HEADINGS = {
    "target": "To be forgotten: photos that nothing was trained on",
    "target_seen": "To be forgotten: photos of the request",
    "retained": "To be kept",
    "unshown": "To be kept, and not shown",
    "stranger": "Never known to the model",
}
NOTES = {
    "recognition/target": "target on images the edit never saw",
    "recognition/target_seen": "target on the images of the request",
    "recognition/retained": "everyone or everything else",
    "recognition/unshown": "others who were not shown as to be kept",
    "recognition/stranger": "people the model never knew, answered as such",
    "misattributed/target": "photos of the target that get somebody else's name",
    "scene": "background, glasses, expression",
    "appearance": "hair, headgear: the look, not the identity",
    "text": "from the name alone, no image",
    "balance": "harmonic mean of forgetting and keeping",
    "oracle_gap": "mean distance to the oracle",
    "classification": "multiple choice; chance is 1 of the number of options",
    "classification_text": "the same without an image",
    "cloze": "the right words occur in the answer",
    "generation": "a sentence, by what it shares with the right one",
    "forget_quality/ks_p": "how hard the target's answers are to tell from the oracle's",
    "forget_quality/one_minus_js": "how alike the target's answers are to the oracle's",
    "c_dis": "how much less likely the target's answers became",
    "utility": "harmonic mean of what the benchmark wants to be kept",
}


@dataclass(frozen=True)
class ScoreRow:
    """One score in all phases; `label` is name/subset."""

    label: str
    note: str
    scores: dict[str, Score]
    higher_is_better: bool
    unit: str


@dataclass(frozen=True)
class Card:
    """One image with its questions; `image` is empty where there is no picture to show."""

    concept: str
    image: str
    examples: list[Example]


def _rank(label: str) -> tuple[int, int]:
    """Where a row stands: the groups of ORDER, then everything else in the order of the record."""
    name, _, subset = label.partition("/")
    if name not in ORDER:
        return len(ORDER), 0
    return ORDER.index(name), SUBSETS.index(subset) if subset in SUBSETS else len(SUBSETS)


def knows(result: Result) -> bool:
    """Whether it is known that nothing was trained on photos that count as the target's: by a request's hashes.

    A benchmark says it itself.
    """
    return result.data.get("benchmark") != OWN or result.request is not None


def rows(result: Result) -> list[ScoreRow]:
    """The scores, a row for each name and subset; those of attacks stand for themselves."""
    table: dict[str, dict[str, Score]] = {}
    for score in result.scores:
        if "." in score.name:
            continue
        label = f"{score.name}/{score.subset}" if score.subset else score.name
        table.setdefault(label, {})[score.phase] = score
    built = []
    for label in sorted(table, key=_rank):
        first = next(iter(table[label].values()))
        note = NOTES.get(label) or NOTES.get(first.name, "")
        if label == "recognition/target" and not knows(result):
            note = "photos of the target"
        built.append(ScoreRow(label, note, table[label], first.higher_is_better, first.unit))
    return built


def cards(examples: Sequence[Example]) -> dict[str, list[Card]]:
    """Examples by subset, target first; those with the same image and concept share a card."""
    groups: dict[str, dict[tuple[str, str], list[Example]]] = {}
    for example in examples:
        groups.setdefault(example.subset, {}).setdefault((example.concept, example.image), []).append(example)
    known = [subset for subset in SUBSETS if subset in groups]
    return {
        subset: [Card(c, i if IMAGE.fullmatch(i) else "", e) for (c, i), e in groups[subset].items()]
        for subset in known + [s for s in groups if s not in known]
    }


def changed(example: Example, phase: str) -> bool:
    """Whether the answer of `phase` differs from the one before the edit."""
    answers = example.answers
    return phase == "after" and {"before", "after"} <= answers.keys() and answers["before"] != answers["after"]


def environment() -> Environment:
    """The templates of this room, every text of a record escaped."""
    page = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for show in (figures.percent, figures.measured, figures.interval, figures.small, figures.breakable):
        page.filters[show.__name__] = show
    return page


def _template(name: str) -> str:
    return resources.files("unsee.reporting").joinpath(name).read_text(encoding="utf-8")


def _without_paths(model: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of a model; of the folders of this machine only their names."""
    return {
        key: Path(str(value)).name if key in ("path", "before", "oracle") else value for key, value in model.items()
    }


def render(result: Result) -> str:
    """The page of a result as HTML text: self-contained, without scripts, every text of the record escaped."""
    template = environment().get_template("template.html")
    table, points, told = rows(result), figures.drawable(result.feature_map), summary.lines(result)
    present = [phase for phase in PHASES if any(phase in row.scores for row in table)]
    return template.render(
        result=result, title=summary.title(result), about=summary.about(result), lines=told,
        state=summary.state(told), judged=summary.judge(result), rows=table, phases=present,
        attempts=attempts(result), CLASSES=CLASSES,
        GROUPS=HEADINGS if knows(result) else {**HEADINGS, "target": "To be forgotten"},
        dots=[row for row in table if row.unit in figures.SHARES], cards=cards(result.examples), changed=changed,
        all_phases=PHASES, points=points, view=figures.frame(points) if points else None,
        map_phases=[phase for phase in PHASES if any(p.phase == phase for p in points)],
        groups=[g for g in reversed(figures.GROUPS) if any(p.group == g for p in points)],
        span=figures.decades(layer.retained for layer in result.layers), draw=figures,
        model=list(figures.facts(_without_paths(result.model))), method=list(figures.facts(result.method)),
        data=list(figures.facts(result.data)), environment=list(figures.facts(result.environment)),
        timings=figures.clock(result.timings),
    )  # fmt: skip


def write(result: Result, out: Path) -> None:
    """Write the page to `out`: whole or not at all. Raises InputError where it cannot be written."""
    put(render(result), out)


def put(text: str, out: Path) -> None:
    """Writes a page's text to `out`: whole or not at all. Raises InputError where it cannot be written."""
    with_file(out, lambda file: _fill(file, text))


def _fill(file: Path, text: str) -> None:
    file.write_bytes(text.encode("utf-8", "replace"))


def is_page(file: Path) -> bool:
    """Whether a file is a page that unsee made."""
    if not is_plain(file):
        return False
    with file.open("rb") as content:
        return MARK in content.read(4096)
