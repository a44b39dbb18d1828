"""What a result says in a few lines: forgotten, others kept, the rest as before. Standard library only."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from unsee.records import MISSED, OWN, OWN_ANSWERS, PHASES, Result, Score
from unsee.reporting import figures
from unsee.reporting.attempts import STILL, attempts, brought_back

PASSED, FAILED, OPEN = "passed", "failed", "not measured"  # the states of a line, a check and a page
PEOPLE = ("personas", "mllmu", "clear", "umu", "fiubench")  # benchmarks whose concepts are people
FEWEST = 10  # questions, of which a model that answers anything gets one right


@dataclass(frozen=True)
class Bar:
    """What a score after the edit must reach: the same score of another phase plus `margin`, as most or as least.

    Without a reference `margin` itself is the limit.
    """

    name: str
    subset: str
    reference: str
    margin: float
    at_most: bool = False


WORDS = {OWN_ANSWERS: "Photos of this request"}  # of checks that are told to who asked, not to engineers alone
FORGOTTEN = Bar("recognition", "target", "oracle", 0.03, at_most=True)
KEPT = Bar("recognition", "retained", "before", -0.01)
REST = (
    Bar("scene", "target", "before", -0.03),
    Bar("appearance", "target", "oracle", -0.05),
    Bar("text", "target", "before", 0.0),
    Bar("text", "retained", "before", 0.0),
)
BARS = (FORGOTTEN, KEPT, *REST)
OWN_FORGOTTEN = Bar("recognition", "target", "", 0.15, at_most=True)
OWN_KEPT = Bar("recognition", "retained", "before", -0.04)
OWN_REST = (
    Bar("scene", "target", "before", -0.05),
    Bar("appearance", "target", "before", -0.05),
    Bar("text", "target", "before", 0.0),
)
MAY_COST = round(-OWN_KEPT.margin * 100)  # points that others may lose by any request; KEPT is the stricter aim
OWN_BARS = (
    OWN_FORGOTTEN,
    Bar("recognition", "target_seen", "", 0.15, at_most=True),
    OWN_KEPT,
    Bar("recognition", "unshown", "before", -0.06),
    *OWN_REST,
)


@dataclass(frozen=True)
class Judged:
    """A bar that could be judged: the limit, the score after the edit, and whether it is met."""

    bar: Bar
    limit: float
    score: Score

    @property
    def value(self) -> float:
        """The score's value."""
        return self.score.value

    @property
    def met(self) -> bool:
        """Whether the value reaches the limit."""
        return self.value <= self.limit + 1e-9 if self.bar.at_most else self.value >= self.limit - 1e-9

    @property
    def missed(self) -> bool:
        """Whether the value is beyond the limit with all of its interval, so that it is not by chance."""
        low, high = self.score.ci95
        return not self.met and (low > self.limit if self.bar.at_most else high < self.limit)

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
        if not self.bar.reference:
            return "of one's own photos"
        if not points:
            return f"as {self.bar.reference}"
        sign = "plus" if self.bar.margin > 0 else "less"
        return f"{self.bar.reference}, {sign} {points} point{'s' if points > 1 else ''}"


@dataclass(frozen=True)
class Line:
    """One thing that a request is to do, whether it did, and the figures in a sentence."""

    title: str
    state: str
    text: str


def title(result: Result) -> str:
    """What the page is about: the request, or the method and the model."""
    if result.request:
        return f"Request {result.request['id']}"
    names = (record.get("name") for record in (result.method, result.model))
    return " on ".join(str(name) for name in names if name) or "Visual unlearning"


def about(result: Result) -> str:
    """How many photos of how many people or things the request was about, and when it was made."""
    parts = []
    if result.request:
        photos = len(result.request["used"]) + len(result.request["aside"])
        parts.append(f"{_count(photos, 'photo')} of {_things(len(result.request['concepts']), result.data)}")
        if skipped := result.request.get("skipped_files"):
            parts.append(f"{_count(skipped, 'file')} skipped that could not be read")
    made = (result.request or {}).get("time") or result.time
    if made:
        parts.append(date(made))
    return ", ".join(parts)


def date(time: str) -> str:
    """A time in UTC as people write it."""
    try:
        return f"{datetime.fromisoformat(time):%-d %B %Y, %H:%M} UTC"
    except ValueError:  # the form of a time, and no time: a thirteenth month
        return time


def lines(result: Result) -> list[Line]:
    """The lines of a result, the most important first."""
    judged = {item.bar: item for item in judge(result)}
    tried = attempts(result)
    own = result.verdict if result.verdict and result.verdict.get("question") else None
    by_verdict = own is not None and FORGOTTEN not in judged
    if own is not None and by_verdict:
        found = [_own_forgotten(own), _own_kept(own), *_further(result)]
    else:
        found = [
            _forgotten(result, judged.get(FORGOTTEN) or judged.get(OWN_FORGOTTEN)),
            _kept(result, _judged(result, OWN_KEPT)),
        ]
    if tried and result.value("recognition", "retained", "after") is None:
        del found[1:]  # attacks ask about the target alone
    else:
        found.append(_rest(result, [judged[bar] for bar in (*REST, *OWN_REST) if bar in judged]))
    not_made = result.data.get("not_made", {})
    if tried or not_made:
        state = FAILED if any(one.back for one in tried) else PASSED
        known = any(one.excess is not None for one in tried)
        told = [brought_back(tried)] if tried else []
        told += [f"Not made was {name}: {reason}" for name, reason in not_made.items()]
        found.append(Line("Attacks", state if known or state == FAILED else OPEN, " ".join(told)))
    if missed := [MISSED[name][0] for name in result.data.get("missed_when_made", ()) if name in MISSED]:
        found.append(Line("When it was made", FAILED, f"The request missed its aim. {'. '.join(missed)}."))
    above = {OWN_ANSWERS} if by_verdict else set[str]()
    broken = [check for check in result.checks if not check.passed and check.name not in above]
    if broken:
        found.append(
            Line(
                "Checks", FAILED, " ".join(f"{WORDS.get(check.name, check.name)}: {check.detail}." for check in broken)
            )
        )
    return [*_silent(result), *found]


def _silent(result: Result) -> list[Line]:
    """The line that says that a model answers nothing right: the one before, or without one this one about others.

    Nobody can say so of fewer than FEWEST questions.
    """
    before = any(score.phase == "before" for score in result.scores)
    own = [s for s in result.scores if s.phase == ("before" if before else "after") and s.name != "misattributed"]
    asked = sum(score.n for score in own if before or score.subset not in ("target", "target_seen"))
    if asked < FEWEST or any(score.value > 0 for score in own):
        return []
    who, lacks = ("The model before", "there is nothing to compare with") if before else ("The model", "it is broken")
    what = "of" if before else "about others than the target, of"
    text = f"{who} answers none {what} {asked} questions right: {lacks}, or it was asked what it cannot answer."
    return [Line("The model", FAILED, text)]


def state(found: Sequence[Line]) -> str:
    """The state of a whole result."""
    if any(line.state == FAILED for line in found):
        return FAILED
    return OPEN if any(line.state == OPEN for line in found[:2]) else PASSED


def judge(result: Result) -> list[Judged]:
    """The bars whose score and reference were both measured."""
    bars = OWN_BARS if result.data.get("benchmark") == OWN else BARS
    return [found for bar in bars if (found := _judged(result, bar)) is not None]


def _judged(result: Result, bar: Bar) -> Judged | None:
    """One bar; None where its score or its reference was not measured."""
    named = {(score.name, score.subset, score.phase): score for score in result.scores if math.isfinite(score.value)}
    score = named.get((bar.name, bar.subset, "after"))
    reference = named.get((bar.name, bar.subset, bar.reference))
    if score is None or (reference is None and bar.reference):
        return None
    start = 0.0 if reference is None else reference.value
    return Judged(bar, min(max(start + bar.margin, 0.0), 1.0), score)


def _own_forgotten(verdict: Mapping[str, Any]) -> Line:
    counts, missed = verdict["counts"], set(verdict["missed"])
    wrong = missed & {"unknown", "used_named", "aside_named", "misattributed"}
    aside, used = counts["aside_named"], counts["used_named"]
    if not aside[1] + used[1]:
        return Line(
            "Forgotten", FAILED, f"No photo of the target got an answer to “{verdict['question']}” that names it."
        )
    parts = [f"{_of(aside)} that were set aside"] if aside[1] else []
    varied, views = counts.get("aside_varied", (0, 0))
    if parts and views:
        parts[0] += f", {varied or 'none'} of {_count(views, 'variation')} of these,"
    parts.append(f"{_of(used)} that it was changed with")
    text = f"Asked “{verdict['question']}”, the model gives its old answer for {' and for '.join(parts)}."
    other = sum(counts[f"{group}_misattributed"][0] for group in ("used", "aside"))
    text += f" It gives {_count(other, 'photo')} the name of somebody else." if other else ""
    return Line("Forgotten", FAILED if wrong else PASSED, text)


def _own_kept(verdict: Mapping[str, Any]) -> Line:
    counts, missed = verdict["counts"], set(verdict["missed"])
    shown, unshown = counts["shown_kept"], counts["unshown_kept"]
    if not shown[1] + unshown[1]:
        strangers = sum(counts.get(name, (0, 0))[1] for name in ("shown_gained", "unshown_gained"))
        none = "that the model knows" if strangers else "to ask the model about: what they lose was not seen"
        text = f"There was no photo of others {none}."
        if "no_others" in missed:
            return Line("Others kept", FAILED, f"{text} Nothing stood for them in the training either.")
        return Line("Others kept", OPEN, text)
    parts = [f"{_of(shown)} of others that were shown as to be kept"] if shown[1] else []
    if unshown[1]:
        apart, others = counts.get("unshown_concepts", (0, 0))
        who = f" ({apart} of {others} people or things)" if apart else ""
        parts.append(f"{_of(unshown)} of others that were not shown{who}")
    text = f"The model gives its old answer for {' and for '.join(parts)}."
    gained = sum(counts.get(name, (0,))[0] for name in ("shown_gained", "unshown_gained"))
    text += f" For {gained} more it now gives the right one." if gained else ""
    if unshown[1]:
        most = math.ceil(100 * figures.most(unshown[1] - unshown[0], unshown[1]))
        text += f" Of all photos of others that nobody showed, fewer than {most}{figures.PERCENT} lose it"
        text += f" (95{figures.PERCENT} confidence)."
    kept, known = counts.get("since_kept", (0, 0))
    if known:
        text += f" When the session began it named {_count(known, 'photo')} of others; {kept or 'none'} of them now."
    text += " They show too few people or things to say what becomes of the rest." if "few_others" in missed else ""
    return Line("Others kept", FAILED if missed & {"shown_kept", "unshown_kept", "few_others"} else PASSED, text)


def _further(result: Result) -> list[Line]:
    """The line about the user's own questions who it is, where there are any that the verdict does not go by."""
    parts, missed = [], False
    for side, counts in result.data.get("further", {}).items():
        total, before, after = (counts[name] for name in ("questions", "before", "after"))
        whom = "the target" if side == "target" else side
        parts.append(f"{after or 'none'} of {total} about {whom} ({before or 'none'} before)")
        still = before and after > OWN_FORGOTTEN.margin * total
        missed |= bool(still if side == "target" else before - after > -OWN_KEPT.margin * total)
    if not parts:
        return []
    text = f"Asked further who it is, the model is right in {' and in '.join(parts)}."
    return [Line("Further questions", FAILED if missed else PASSED, text)]


def _forgotten(result: Result, judged: Judged | None) -> Line:
    who, be = _subject(result)
    before, after, oracle = (_value(result, "recognition", "target", phase) for phase in PHASES)
    if after is None:
        text, known = "Recognition of the target after the edit was not measured.", result.verdict
        if known and not known.get("question"):
            text = "The model itself was not asked."
        return Line("Forgotten", FAILED if known and not known["passed"] else OPEN, text)
    was = f", {figures.share(before)} before" if before is not None else ""
    if before is not None and after > STILL * before and (oracle is None or after > oracle + FORGOTTEN.margin):
        text = f"Nothing was forgotten: {who} {be} recognised in {figures.share(after)} of questions{was}."
        return Line("Forgotten", FAILED, text)
    if judged is None or (oracle is None and judged.bar != OWN_FORGOTTEN):
        text = f"{who} {be} recognised in {figures.share(after)} of questions{was}, with no oracle to compare with."
        return Line("Forgotten", OPEN, text)
    if oracle is None:
        now = f"{figures.share(after)} of questions{was}"
        if before is not None and before <= judged.limit:
            return Line("Forgotten", FAILED, f"{who} {be} recognised neither before nor after the edit ({now}).")
        return Line("Forgotten", PASSED if judged.met else FAILED, f"{who} {be} recognised in {now}.")
    unseen = f"{figures.share(oracle)} for a model that never saw the target"
    facts = f"({figures.share(after)} of questions right{was}, {unseen})"
    if judged.missed:
        text = f"{who} {be} still recognised more often than by a model that never saw the target {facts}."
        return Line("Forgotten", FAILED, text)
    if before is not None and before <= oracle + FORGOTTEN.margin:
        return Line("Forgotten", FAILED, f"{who} {be} recognised neither before nor after the edit {facts}.")
    if not judged.met:
        points = round(FORGOTTEN.margin * 100)
        text = f"{who} {be} recognised by more than {points} points oftener than by a model that never saw the target"
        return Line("Forgotten", OPEN, f"{text} {facts}. With so few questions that could be chance.")
    return Line("Forgotten", PASSED, f"{who} {be} no longer recognised {facts}.")


def _kept(result: Result, judged: Judged | None) -> Line:
    rest = "everyone else" if result.data.get("benchmark") in PEOPLE else "the rest"
    before, after = (_value(result, "recognition", "retained", phase) for phase in ("before", "after"))
    if after is None:
        return Line("Others kept", OPEN, f"Recognition of {rest} was not measured.")
    now = figures.share(after)
    if before is None or judged is None:
        text = f"{now} of questions about {rest} are right, with nothing before the edit to compare with."
        return Line("Others kept", OPEN, text)
    if judged.missed:
        return Line("Others kept", FAILED, f"Recognition of {rest} fell from {figures.share(before)} to {now}.")
    if not judged.met:
        chance = (
            "it could be chance" if judged.score.ci95[1] >= before else "that it is more than these could be chance"
        )
        text = (
            f"Recognition of {rest} fell from {figures.share(before)} to {now}, by more than the {MAY_COST} points "
            f"that a request may cost. With so few questions {chance}; ask about more photos."
        )
        return Line("Others kept", OPEN, text)
    if (strict := _judged(result, KEPT)) is not None and strict.missed:
        fell = f"Recognition of {rest} fell from {figures.share(before)} to {now}"
        return Line("Others kept", PASSED, f"{fell}, which is within the {MAY_COST} points that a request may cost.")
    how = "as before" if now == figures.share(before) else "kept"
    text = f"Recognition of {rest} is {how} ({now} of questions right, {figures.share(before)} before)."
    return Line("Others kept", PASSED, text)


def _rest(result: Result, judged: Sequence[Judged]) -> Line:
    name = "Rest of the photo"
    parts = []
    for score in ("scene", "appearance", "text"):
        before, after = (_value(result, score, "target", phase) for phase in ("before", "after"))
        if after is not None:
            was = "" if before is None else f", {figures.share(before)} before"
            parts.append(f"{NAMES[score]} {figures.share(after)}{was}")
    if not parts:
        return Line(name, OPEN, "Nobody asked what else is on the photos.")
    text = f"Questions about the target's photos that name nobody are right in: {'; '.join(parts)}."
    lost = any(item.missed for item in judged)
    return Line(name, FAILED if lost else PASSED if judged else OPEN, text)


NAMES = {"scene": "surroundings", "appearance": "looks", "text": "facts asked by name, without a photo,"}


def _subject(result: Result) -> tuple[str, str]:
    """Who was to be forgotten, and the verb that goes with it."""
    count = result.data.get("target_concepts")
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        return "The target", "is"
    return _things(count, result.data), "is" if count == 1 else "are"


def _things(count: int, data: Mapping[str, Any]) -> str:
    one, more = ("person", "people") if data.get("benchmark") in PEOPLE else ("person or thing", "people or things")
    return f"{count} {one if count == 1 else more}"


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _of(pair: Iterable[int]) -> str:
    some, total = pair
    return f"{some or 'none'} of {_count(total, 'photo')}"


def _value(result: Result, name: str, subset: str, phase: str) -> float | None:
    value = result.value(name, subset, phase)
    return value if value is not None and math.isfinite(value) else None
