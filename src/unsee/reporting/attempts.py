"""What attacks brought back, by the record of a result. Standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass

from unsee.records import Result, Score
from unsee.reporting import figures

STILL = 0.5  # share of the cases: more is never forgotten, whatever there is to compare with


@dataclass(frozen=True)
class Attempt:
    """One attack at one budget: recovery as after, control as oracle, and recovery less control where both are.

    `first` is what the attack gets from the model before, where it was tried on that.
    """

    attack: str
    budget: str
    scores: dict[str, Score]
    excess: Score | None
    first: Score | None = None

    @property
    def sure(self) -> bool:
        """Whether the attack brings back something, and more than from the oracle, that interval excluding zero."""
        return self.excess is not None and self.excess.ci95[0] > 0 and self.scores["after"].value > 0

    @property
    def back(self) -> bool:
        """Whether it brings back what no oracle, where there is none, would give: more than half of the cases."""
        return self.sure or (self.excess is None and self.scores["after"].value > STILL)


def attempts(result: Result) -> list[Attempt]:
    """The attacks of the record, in its order."""
    named = {(score.name, score.subset): score for score in result.scores}
    first = {(score.name, score.subset): score for score in result.scores if score.phase == "before"}
    found = []
    for (name, budget), score in named.items():
        kind, _, attack = name.partition(".")
        if kind != "recovery":
            continue
        control = named.get((f"control.{attack}", budget))
        sides = {"after": score} if control is None else {"after": score, "oracle": control}
        excess, before = named.get((f"excess.{attack}", budget)), first.get((f"attacked.{attack}", budget))
        found.append(Attempt(attack, budget, sides, excess, before))
    return found


def brought_back(tried: Sequence[Attempt]) -> str:
    """What the attacks say, in a sentence, and how many say nothing because they fail on the model before too."""
    empty = sum(one.first is not None and one.first.value <= 0 for one in tried)
    more = f" {empty} of them get nothing from the model before either, so that they tell nothing." if empty else ""
    return f"{_brought_back(tried)}{more}"


def _brought_back(tried: Sequence[Attempt]) -> str:
    known = [one for one in tried if one.excess is not None]
    if not known:
        most = max(tried, key=lambda one: one.scores["after"].value)
        begun = f"{len(tried)} attempts to bring the target back, with no oracle to compare with"
        if most.scores["after"].value <= 0:
            return f"{begun}; none brings anything back."
        score = most.scores["after"]
        share = f"{figures.share(score.value)} of {score.n} cases"
        return f"{begun}; most is brought back by {most.attack} ({most.budget}), {share}."
    sure = [one for one in known if one.sure]
    if not sure:
        return f"None of {len(known)} attempts brings back more than it gets from a model that never saw the target."
    worst = max(sure, key=lambda one: one.scores["after"].value)
    return (
        f"{len(sure)} of {len(known)} attempts bring back more than they get from a model that never saw the target, "
        f"most {worst.attack} ({worst.budget}): {figures.share(worst.scores['after'].value)} beside "
        f"{figures.share(max(worst.scores['oracle'].value, 0.0))}."
    )
