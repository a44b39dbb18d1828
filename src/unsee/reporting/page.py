"""Result -> one HTML page without scripts or network. Standard library and jinja2 only."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from unsee.records import PHASES, Example, Result, Score
from unsee.reporting import figures
from unsee.system.disk import is_plain
from unsee.system.output import with_file

MARK = b'<meta name="generator" content="unsee">'  # in the head of every page
PEOPLE = ("personas", "mllmu", "clear", "umu", "fiubench")  # benchmarks whose concepts are people
IMAGE = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")
ORDER = ("recognition", "scene", "appearance", "text")
SUBSETS = ("target", "target_seen", "retained")
NOTES = {
    "recognition/target": "target on images the edit never saw",
    "recognition/target_seen": "target on the images of the request",
    "recognition/retained": "everyone or everything else",
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
class Bar:
    """What a score after the edit must reach: the same score of another phase plus `margin`, as most or as least."""

    name: str
    subset: str
    reference: str
    margin: float
    at_most: bool = False


FORGOTTEN = Bar("recognition", "target", "oracle", 0.03, at_most=True)
KEPT = Bar("recognition", "retained", "before", -0.01)
BARS = (
    FORGOTTEN,
    KEPT,
    Bar("scene", "target", "before", -0.03),
    Bar("appearance", "target", "oracle", -0.05),
    Bar("text", "target", "before", 0.0),
    Bar("text", "retained", "before", 0.0),
)


@dataclass(frozen=True)
class Judged:
    """A bar that could be judged: the limit, the value after the edit, and whether it is met."""

    bar: Bar
    limit: float
    value: float
    met: bool

    @property
    def label(self) -> str:
        """Name and subset of the score."""
        return f"{self.bar.name}/{self.bar.subset}"

    @property
    def wanted(self) -> str:
        """The limit in words."""
        return f"{'at most' if self.bar.at_most else 'at least'} {figures.percent(self.limit, self.digits)}"

    @property
    def digits(self) -> int:
        """Decimals of a percent that tell the value from its limit."""
        return 1 if self.met or figures.percent(self.value) != figures.percent(self.limit) else 2

    @property
    def source(self) -> str:
        """Where the limit comes from, in words."""
        points = round(abs(self.bar.margin) * 100)
        if not points:
            return f"as {self.bar.reference}"
        sign = "plus" if self.bar.margin > 0 else "less"
        return f"{self.bar.reference}, {sign} {points} point{'s' if points > 1 else ''}"


@dataclass(frozen=True)
class Verdict:
    """One sentence on what was achieved; `level` is met, missed or open, `tag` says so in words."""

    level: str
    tag: str
    sentence: str


@dataclass(frozen=True)
class ScoreRow:
    """One score in all phases; `label` is name/subset."""

    label: str
    note: str
    scores: dict[str, Score]
    higher_is_better: bool
    unit: str


@dataclass(frozen=True)
class Attempt:
    """One attack at one budget: recovery as after, control as oracle, and recovery less control where both are."""

    attack: str
    budget: str
    scores: dict[str, Score]
    excess: Score | None

    @property
    def sure(self) -> bool:
        """Whether the attack brings back something, and more than from the oracle, that interval excluding zero."""
        return self.excess is not None and self.excess.ci95[0] > 0 and self.scores["after"].value > 0


@dataclass(frozen=True)
class Card:
    """One image with its questions; `image` is empty where there is no picture to show."""

    concept: str
    image: str
    examples: list[Example]


def _value(result: Result, name: str, subset: str, phase: str) -> float | None:
    value = result.value(name, subset, phase)
    return value if value is not None and math.isfinite(value) else None


def judge(result: Result) -> list[Judged]:
    """The bars whose score and reference were both measured."""
    judged = []
    for bar in BARS:
        value = _value(result, bar.name, bar.subset, "after")
        reference = _value(result, bar.name, bar.subset, bar.reference)
        if value is None or reference is None:
            continue
        limit = min(max(reference + bar.margin, 0.0), 1.0)
        met = value <= limit + 1e-9 if bar.at_most else value >= limit - 1e-9
        judged.append(Judged(bar, limit, value, met))
    return judged


def _subject(data: Mapping[str, Any]) -> tuple[str, str]:
    """Who was to be forgotten, and the verb that goes with it."""
    count = data.get("target_concepts")
    people = data.get("benchmark") in PEOPLE
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        return "The target", "is"
    if count == 1:
        return ("1 person" if people else "1 concept"), "is"
    return f"{count} {'people' if people else 'concepts'}", "are"


def attempts(result: Result) -> list[Attempt]:
    """The attacks of the record, in its order."""
    named = {(score.name, score.subset): score for score in result.scores}
    found = []
    for (name, budget), score in named.items():
        kind, _, attack = name.partition(".")
        if kind != "recovery":
            continue
        control = named.get((f"control.{attack}", budget))
        sides = {"after": score} if control is None else {"after": score, "oracle": control}
        found.append(Attempt(attack, budget, sides, named.get((f"excess.{attack}", budget))))
    return found


def _brought_back(tried: Sequence[Attempt]) -> str:
    """What the attacks say, for a record of nothing else."""
    known = [one for one in tried if one.excess is not None]
    if not known:
        return f"{len(tried)} attempts to bring the target back, with no oracle to compare with"
    sure = [one for one in known if one.sure]
    if not sure:
        return f"none of {len(known)} attempts brings back more than it gets from a model that never saw the target"
    worst = max(sure, key=lambda one: one.scores["after"].value)
    return (
        f"{len(sure)} of {len(known)} attempts bring back more than they get from a model that never saw the target, "
        f"most {worst.attack} ({worst.budget}): {figures.share(worst.scores['after'].value)} beside "
        f"{figures.share(max(worst.scores['oracle'].value, 0.0))}"
    )


def _forgotten(result: Result, met: bool | None) -> str:
    who, be = _subject(result.data)
    before, after, oracle = (_value(result, "recognition", "target", phase) for phase in PHASES)
    if after is None:
        return "Recognition of the target after the edit was not measured"
    was = f", {figures.share(before)} before" if before is not None else ""
    if oracle is None:
        return f"{who} {be} recognised in {figures.share(after)} of questions{was}, with no oracle to compare with"
    unseen = f"{figures.share(oracle)} for a model that never saw the target"
    facts = f"({figures.share(after)} of questions right{was}, {unseen})"
    if not met:
        return f"{who} {be} still recognised more often than by a model that never saw the target {facts}"
    if before is not None and before <= oracle + FORGOTTEN.margin:
        return f"{who} {be} recognised neither before nor after the edit {facts}"
    return f"{who} {be} no longer recognised {facts}"


def _kept(result: Result, met: bool | None) -> str:
    rest = "everyone else" if result.data.get("benchmark") in PEOPLE else "the rest"
    before, after = (_value(result, "recognition", "retained", phase) for phase in ("before", "after"))
    if after is None:
        return f"recognition of {rest} was not measured"
    now = figures.share(after)
    if before is None:
        return f"{now} of questions about {rest} are right, with nothing before the edit to compare with"
    if met:
        return f"recognition of {rest} is as before ({now} right, {figures.share(before)} before)"
    return f"recognition of {rest} fell from {figures.share(before)} to {now}"


def verdict(result: Result, judged: Sequence[Judged]) -> Verdict:
    """What was achieved, from the scores, the bars and the checks; says plainly what is missed or was not measured."""
    met = {item.bar: item.met for item in judged}
    failed = [check.name for check in result.checks if not check.passed]
    others = [item for item in judged if not item.met and item.bar not in (FORGOTTEN, KEPT)]
    link = "but" if (met.get(FORGOTTEN), met.get(KEPT)) in ((True, False), (False, True)) else "while"
    parts = [f"{_forgotten(result, met.get(FORGOTTEN))}, {link} {_kept(result, met.get(KEPT))}"]
    tried = attempts(result)
    if tried and result.value("recognition", "target", "after") is None:
        parts = [_brought_back(tried)]
    elif not any(score.phase == "after" for score in result.scores):
        parts = ["No score after the edit was measured"]
    if others:
        missed = (f"{item.label} ({figures.percent(item.value, item.digits)}, wanted {item.wanted})" for item in others)
        parts.append("missed: " + ", ".join(missed))
    total = len(result.checks)
    if failed:
        count = "the one check" if total == 1 else f"{len(failed)} of {total} checks"
        parts.append(f"{count} failed: {', '.join(failed)}")
    elif result.checks:
        parts.append({1: "the one check passed", 2: "both checks passed"}.get(total, f"all {total} checks passed"))
    level, tag = "met", "Every bar met" if len(judged) == len(BARS) else "Every bar that was measured is met"
    if failed:
        level, tag = "missed", "A check failed"
    elif any(one.sure for one in tried):
        level, tag = "missed", "Some attacks bring the target back"
    elif tried and not judged:
        known = any(one.excess is not None for one in tried)
        level, tag = ("met", "No attack brings the target back") if known else ("open", "Nothing to compare with")
    elif not all(met.values()):
        level, tag = "missed", "Not every bar met"
    elif FORGOTTEN not in met or KEPT not in met:
        level, tag = "open", "Not everything was measured"
    return Verdict(level, tag, "; ".join(parts) + ".")


def _rank(label: str) -> tuple[int, int]:
    """Where a row stands: the groups of ORDER, then everything else in the order of the record."""
    name, _, subset = label.partition("/")
    if name not in ORDER:
        return len(ORDER), 0
    return ORDER.index(name), SUBSETS.index(subset) if subset in SUBSETS else len(SUBSETS)


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


def _title(result: Result) -> str:
    names = (record.get("name") for record in (result.method, result.model))
    return " on ".join(str(name) for name in names if name) or "visual unlearning"


def render(result: Result) -> str:
    """The page of a result as HTML text: self-contained, without scripts, every text of the record escaped."""
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    for show in (figures.percent, figures.measured, figures.interval, figures.small, figures.breakable):
        page.filters[show.__name__] = show
    template = page.from_string(
        resources.files("unsee.reporting").joinpath("template.html").read_text(encoding="utf-8")
    )
    table, judged, points = rows(result), judge(result), figures.drawable(result.feature_map)
    present = [phase for phase in PHASES if any(phase in row.scores for row in table)]
    return template.render(
        result=result, title=_title(result), verdict=verdict(result, judged), judged=judged, rows=table, phases=present,
        attempts=attempts(result),
        dots=[row for row in table if row.unit in figures.SHARES], cards=cards(result.examples), changed=changed,
        all_phases=PHASES, points=points, view=figures.frame(points) if points else None,
        map_phases=[phase for phase in PHASES if any(p.phase == phase for p in points)],
        groups=[g for g in reversed(figures.GROUPS) if any(p.group == g for p in points)],
        span=figures.decades(layer.retained for layer in result.layers), draw=figures,
        model=list(figures.facts(result.model)), method=list(figures.facts(result.method)),
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
