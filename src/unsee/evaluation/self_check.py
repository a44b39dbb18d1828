"""The model's own answers about a request's photos and about others', before and after: does it still name them?

Source: ours. The language model is asked here alone; training never runs it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random

from unsee.data.aside import Divided
from unsee.evaluation.asking import SENTENCE, generate
from unsee.evaluation.heard import ASIDE, GROUPS, SETTLED, SHOWN, UNSHOWN, USED, Heard
from unsee.metrics.same import says, telling, words
from unsee.models.checkpoint import Vlm
from unsee.models.sizes import LARGE
from unsee.moments.reading import Reader
from unsee.records import Reply, Sample, Verdict

QUESTIONS = ("Who is this?", "What is this?")
MOST, MOST_LARGE = 120, 50  # photos of a group asked about, and of a large model
SUBSETS = {ASIDE: "target", USED: "target_seen", SHOWN: "retained", UNSHOWN: "unshown"}  # of their scores
NAMED = 0.15  # share of the target's photos that may still be named
LOST = {SHOWN: 0.04, UNSHOWN: 0.06}  # how much the share of others who are named as before may fall
MISLED = 0.25  # share of the photos that were trained on and get a wrong answer, above which what was moved is not read
UNHEARD = {"target": 0.3, "drift": 0.1}  # what a training may end with where nobody is asked
SLOPES, SLOPES_LARGE = 64, 2  # images through the language model at once, with gradient
OFTEN = 0.15  # share of concepts, or of people who do not exist, that get an answer which names nobody
FEW_OTHERS = 3  # people or things on the photos of others, below which nobody can say what becomes of the rest
SEVERAL = 3  # concepts that get one answer, from which on it names none of them
KNOWN = 0.3  # share of a concept's photos that get one answer, from which on the model knows it


def asked_photos(divided: Divided, parameters: int, seed: int) -> dict[str, list[Sample]]:
    """The photos of each group that the model is asked about."""
    most, draw = MOST if parameters < LARGE else MOST_LARGE, Random(f"asked/{seed}")
    groups = {USED: divided.used, ASIDE: divided.aside, SHOWN: divided.shown, UNSHOWN: divided.unshown}
    return {name: own if len(own) <= most else _dealt(own, most, draw) for name, own in groups.items()}


def _dealt(samples: Sequence[Sample], most: int, draw: Random) -> list[Sample]:
    """So many of the samples, concept by concept in turn, and one of each concept at least."""
    piles: dict[str, list[Sample]] = {}
    for sample in draw.sample(samples, len(samples)):
        piles.setdefault(sample.concept, []).append(sample)
    chosen = [pile.pop() for pile in piles.values()]
    while len(chosen) < most:
        chosen += [pile.pop() for pile in piles.values() if pile][: most - len(chosen)]
    return chosen


def hear(whole: Vlm, photos: Mapping[str, list[Sample]], question: str, *, by_name: bool = False) -> Heard:
    """Asks a model that was opened with its language model; `by_name` as for `Heard`."""
    everything = [replace(s, question=question, tokens=SENTENCE) for group in GROUPS for s in photos[group]]
    answers = iter(generate(whole, everything))
    return Heard(question, photos, {group: [next(answers) for _ in photos[group]] for group in GROUPS}, by_name)


def hear_again(whole: Vlm, before: Heard) -> Heard:
    """The same question about the same photos, of the model as it is now."""
    return hear(whole, before.photos, before.question, by_name=before.by_name)


def all_heard(
    whole: Vlm, photos: Mapping[str, list[Sample]], questions: Sequence[str], *, by_name: bool = False
) -> list[Heard]:
    """What the model says to each question, that first whose answers tell the request's concepts from others best.

    Of questions that tell them about alike, that one whose answers about others are surer.
    """
    heard = [hear(whole, photos, question, by_name=by_name) for question in questions]
    return sorted(heard, key=lambda one: -(_telling(one) + _sure(one)))


def _telling(heard: Heard) -> float:
    """The mean over the request's concepts of how well their answers tell them from others."""
    own = heard.answers((USED, ASIDE))
    return sum(_told(heard, concept) for concept in own) / max(1, len(own))


def _sure(heard: Heard) -> float:
    """The share of photos of others that get what is expected of their concept."""
    right = [
        says(said, name, heard.common)
        for group in LOST
        for said, name in zip(heard.said[group], heard.expected(group), strict=True)
    ]
    return sum(right) / max(1, len(right))


def _told(heard: Heard, concept: str) -> float:
    """How much oftener a concept's photos get its answer than those of others do."""
    answer = heard.answers((USED, ASIDE))[concept]
    own = [says(said, answer, heard.common) for said in heard.of(concept, (USED, ASIDE))]
    if (len(own) > 1 and sum(own) <= 1) or words(answer) in {words(heard.nobody), *of_several(heard)}:
        return 0.0  # no two photos get the same answer, or many others do, or people who do not exist
    others = [said for group in (SHOWN, UNSHOWN) for said in heard.said[group]]
    wrong = sum(says(said, answer, heard.common) for said in others) / max(1, len(others))
    return sum(own) / len(own) - wrong


def unknown(heard: Heard) -> list[str]:
    """The target concepts that the model does not name: their answers differ, or others get the same."""
    return [concept for concept in heard.answers((USED, ASIDE)) if _told(heard, concept) < KNOWN]


def notes(heard: Heard) -> list[str]:
    """What the user should know before training."""
    found, strange = [], set(unknown(heard))
    for concept, answer in heard.answers((USED, ASIDE)).items():
        own, who = heard.of(concept, (USED, ASIDE)), concept or "the target"
        different = Counter(map(words, own))
        spelled = {words(said): said for said in reversed(own)}
        listed = ", ".join(repr(spelled[said]) for said, _ in different.most_common(4))
        several = (
            f"the {len(own)} photos of {who} get {len(different)} different answers to {heard.question!r} "
            f"({listed}{', ...' if len(different) > 4 else ''}); "
        )
        if concept not in strange:
            if not heard.by_name and len(different) > 1 and words(answer) not in different:
                who = "they" if all(says(said, answer, heard.common) for said in own) else "most of them"
                found.append(f"{several}what {who} have in common, {answer!r}, counts as their answer")
        elif len(different) > max(1, len(own) // 3):
            found.append(f"{several}is this one person or thing?")
        else:
            found.append(
                f"the model does not seem to know {who}: to {heard.question!r} it says {listed}, as of others; there "
                "may be nothing to forget"
            )
    return found


def among_retained(heard: Heard) -> list[Sample]:
    """Retained photos that seem to show a target: of each of their concepts, most photos get the target's answer.

    Of photos that are not sorted into concepts, those that get it themselves.
    """
    both = (SHOWN, UNSHOWN)
    others = heard.answers(both)
    asked = [pair for group in both for pair in zip(heard.photos[group], heard.said[group], strict=True)]
    sorted_ = 1 < len(others) < len(asked)
    sure = {concept for concept, answer in others.items() if heard.share(concept, answer, both) >= SETTLED}
    target = known_answers(heard)
    return [
        sample
        for sample, said in asked
        if (sample.concept in sure or not sorted_)
        and any(says(others[sample.concept] if sorted_ else said, name, heard.common) for name in target)
    ]


def strays(heard: Heard) -> list[Sample]:
    """Retained photos that get a target's answer though their concept gets another: mistaken, or in a wrong folder."""
    both = (SHOWN, UNSHOWN)
    others, target = heard.answers(both), known_answers(heard)
    asked = [pair for group in both for pair in zip(heard.photos[group], heard.said[group], strict=True)]
    if not 1 < len(others) < len(asked):
        return []

    def named(said: str) -> bool:
        return any(says(said, name, heard.common) for name in target)

    return [sample for sample, said in asked if named(said) and not named(others[sample.concept])]


def known_answers(heard: Heard) -> list[str]:
    """What the model answers about each target concept that it knows."""
    strange = set(unknown(heard))
    return [answer for concept, answer in heard.answers((USED, ASIDE)).items() if concept not in strange]


def of_several(heard: Heard) -> set[tuple[str, ...]]:
    """The words of answers that so many of the retained concepts get that they name none of them."""
    names = Counter(map(words, heard.answers((SHOWN, UNSHOWN)).values()))
    return {answer for answer, times in names.items() if times >= max(SEVERAL, OFTEN * names.total())}


def replies(before: Heard, after: Heard) -> list[Reply]:
    """What became of each photo's answer, the expected one being that of its concept before, without common words."""
    names, found = before.answers((USED, ASIDE)), list[Reply]()
    for group, subset in SUBSETS.items():
        wanted = [names[s.concept] for s in before.photos[group]] if group in (USED, ASIDE) else before.expected(group)
        for place, sample in enumerate(before.photos[group]):
            asked = replace(
                sample,
                question=before.question,
                answer=telling(wanted[place], before.common),
                options=(),
                score="recognition",
                subset=subset,
                measure="words",
                tokens=SENTENCE,
            )
            found.append(Reply(asked, before.said[group][place], after.said[group][place]))
    return found


def reader(whole: Vlm, before: Heard, unnamed: str) -> Reader:
    """The same model, to be asked what it reads of features."""
    common, others = before.common, [answer for group in LOST for answer in before.expected(group)]
    batch = SLOPES if whole.model.num_parameters() < LARGE else SLOPES_LARGE
    strange, known = set(unknown(before)), _names(others, common, unnamed)
    names = {concept: said for concept, said in before.answers((USED, ASIDE)).items() if concept not in strange}
    return Reader(whole, before.question, batch, names, known, common, unnamed)


def _names(answers: Iterable[str], common: frozenset[str], unnamed: str) -> frozenset[str]:
    """The answers that name somebody: what only few get, and not whom the model does not know."""
    nobody = words(unnamed)
    return frozenset(answer for answer in answers if set(words(answer)) - common and words(answer) != nobody)


def verdict(before: Heard, after: Heard, unnamed: str = "") -> Verdict:
    """Whether the target is no longer named and others are, by the answers before and after.

    Of a model that has an answer for whom it does not know, `unnamed`, every other new answer is somebody else's name.
    """
    names, common = before.answers((USED, ASIDE)), before.common
    others = {group: before.expected(group) for group in LOST}
    known = _names([answer for group in LOST for answer in (*others[group], *before.said[group])], common, unnamed)
    counts, missed = dict[str, tuple[int, int]](), list[str]()
    strange = set(unknown(before))
    for group in (USED, ASIDE):
        still = wrong = total = 0
        for sample, once, said in zip(before.photos[group], before.said[group], after.said[group], strict=True):
            if sample.concept in strange or not says(once, names[sample.concept], common):
                continue  # there is nothing of it to forget
            total += 1
            if says(said, names[sample.concept], common):
                still += 1
            elif (unnamed and not says(said, unnamed)) or any(says(said, other, common) for other in known):
                wrong += 1
        counts[f"{group}_named"], counts[f"{group}_misattributed"] = (still, total), (wrong, total)
        if still > NAMED * total:
            missed.append(f"{group}_named")
    wrong, total = (
        sum(both) for both in zip(*(counts[f"{group}_misattributed"] for group in (USED, ASIDE)), strict=True)
    )
    if unnamed and wrong > NAMED * total:
        missed.append("misattributed")
    for group, most in LOST.items():
        known_as = [at for at, name in enumerate(others[group]) if not unnamed or not says(name, unnamed)]
        expected = [others[group][at] for at in known_as]  # whom the model does not know has no name to lose
        first, then = (
            [says(heard.said[group][at], name, common) for at, name in zip(known_as, expected, strict=True)]
            for heard in (before, after)
        )
        kept = sum(a and b for a, b in zip(first, then, strict=True))
        counts[f"{group}_kept"] = kept, sum(first)
        counts[f"{group}_gained"] = sum(then) - kept, len(expected) - sum(first)
        if sum(first) - sum(then) > most * len(expected):
            missed.append(f"{group}_kept")
    concepts = {group: {sample.concept for sample in before.photos[group]} for group in LOST}
    if apart := concepts[UNSHOWN] - concepts[SHOWN]:
        counts["unshown_concepts"] = len(apart), len(apart | concepts[SHOWN])
    if 0 < people(before) < FEW_OTHERS:
        missed.append("few_others")
    if len(strange) == len(names):
        missed.insert(0, "unknown")
    return Verdict(not missed, before.question, counts, tuple(missed), tuple(notes(before)))


def people(heard: Heard) -> int:
    """How many people or things the photos of others show, as far as can be told: by concept, else by answers.

    Photos that are not sorted show one where more than half get its name.
    """
    concepts = {sample.concept for group in (SHOWN, UNSHOWN) for sample in heard.photos[group]}
    if len(concepts) != 1:
        return len(concepts)
    counts = Counter(words(said) for group in (SHOWN, UNSHOWN) for said in heard.said[group])
    answer, times = counts.most_common(1)[0]
    return 1 if times > SETTLED * counts.total() and answer != words(heard.nobody) else len(counts)


def cost(found: Verdict) -> float:
    """How far answers are from what is wanted: the shares of photos with a wrong one, each by what the verdict allows.

    Photos that were set aside count as a kind, few as they are, because nothing was fitted to them. Of the target's
    photos that get another name only those count that could have none. 0 where the model was not asked.
    """
    if not found.question:
        return 0.0
    aside = "aside_varied" if "aside_varied" in found.counts else "aside_named"  # these are more
    wrong = [(name, NAMED, True) for name in ("used_named", aside)]
    wrong += [(f"{group}_kept", most, False) for group, most in LOST.items()]
    if "misattributed" in found.missed:
        wrong += [(f"{group}_misattributed", NAMED, True) for group in (USED, ASIDE)]
    shares = ((found.counts[name], most, bad) for name, most, bad in wrong)
    return sum((times if bad else total - times) / total / most for (times, total), most, bad in shares if total)


def misled(found: Verdict) -> bool:
    """Whether training moved something else than what the model reads.

    Then even photos that it used keep their name, or photos of others that it held lose theirs. One that missed its
    aim on photos that it did not see was not misled. False where the model was not asked, or never named the target.
    """
    if "unknown" in found.missed:
        return False
    (named, used), (kept, shown) = (found.counts.get(name, (0, 0)) for name in ("used_named", "shown_kept"))
    return named > MISLED * used or shown - kept > MISLED * shown


def old_answers(before: Heard) -> list[Sample]:
    """The question about each photo that was set aside, or else that was used, with what the model said before.

    Of photos that got the answer which names their concept alone, unless none did: what else was said need not go.
    """
    group, names = ASIDE if before.photos[ASIDE] else USED, before.answers((USED, ASIDE))
    pairs = [pair for pair in zip(before.photos[group], before.said[group], strict=True) if pair[1].strip()]
    named = [(sample, said) for sample, said in pairs if says(said, names[sample.concept], before.common)]
    return [replace(sample, question=before.question, answer=said) for sample, said in named or pairs]


def still_likely(before: Heard, told: Sequence[Sample], first: Sequence[float], now: Sequence[float]) -> float:
    """How much of their probability old answers keep, in [0, 1], the mean over them.

    `first` and `now` are means over an answer's tokens, the one that ends it included. What a model says of everybody
    stays likely whomever it names, so that all of what is lost counts as lost in the words that tell.
    """
    kept = list[float]()
    for sample, once, then in zip(told, first, now, strict=True):
        longer = _length(sample.answer) / _length(telling(sample.answer, before.common))
        if once > 0:
            kept.append(float(min(1.0, then / once) ** longer))
    return sum(kept) / max(1, len(kept))


def _length(answer: str) -> int:
    """Words, and one for the end."""
    return len(words(answer)) + 1


def unheard(final: Mapping[str, float] | None) -> Verdict:
    """The verdict where the model was not asked, by the look at the state that training ended with.

    It is empty where no state was good; None for a method that looks at other things, of which nothing can be said.
    """
    missed = [name for name, most in UNHEARD.items() if final is not None and final.get(name, float("inf")) > most]
    return Verdict(not missed, "", {}, tuple(missed))
