"""A request from its photos to its verdict: what is kept out of training, and what the model says before and after."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from PIL import Image
from torch import Tensor
from transformers import GenerationMixin

from unsee.data import describe
from unsee.data.aside import Divided, divided
from unsee.errors import InputError, UnaskableError
from unsee.evaluation.asking import SENTENCE, answer_probabilities, asked_again, generate
from unsee.evaluation.heard import ASIDE, SETTLED, SHOWN, UNSHOWN, USED, Heard
from unsee.evaluation.self_check import (
    NAMED,
    QUESTIONS,
    all_heard,
    among_retained,
    asked_photos,
    cost,
    hear_again,
    known_answers,
    notes,
    old_answers,
    reader,
    replies,
    still_likely,
    strays,
    unheard,
    verdict,
)
from unsee.evaluation.strangers import unnamed_answer
from unsee.evaluation.variations import named_variations, with_variations
from unsee.metrics.same import says
from unsee.models.checkpoint import Vlm, load, part_way, visual_parameters
from unsee.models.inputs import chat_inputs
from unsee.models.shards import headers
from unsee.models.spreading import whole as put_together
from unsee.models.weights import assign, restored
from unsee.moments.reading import Reader, can_be_read
from unsee.records import Reply, Sample, Verdict
from unsee.system.device import free_on
from unsee.system.memory import available

AUTO, NEVER = "auto", "never"  # of what the model may be asked, beside questions
IN_MEMORY = 3  # how many times its size on disk a model takes in memory, at most: stored in half precision, and in use
IN_DEVICE = 1.5  # the same of a GPU's memory, where half precision stays half; batches are halved where it gets tight
MANY, LIKELY = 10, 0.1  # photos set aside that tell by themselves how far to go; old answers, that call for more
SHARES = (1.2, 1.1, 1.0, 0.92, 0.85, 0.7)  # of a trained change
CONFIRMING = 6  # photos of others that seem to be the target, asked about before that is said
PROBE = (64, 48)  # pixels of a picture with which it is tried whether a model can be asked
UNASKED = "so that it is not asked, and distances alone say whether it forgets"
SAME = 0.4  # costs that differ by less say nothing: about one photo of others in fifty
Ask = str | Sequence[str]
Tell = Callable[[str], None]


def silent(_: str) -> None:
    """Tells nobody."""


@dataclass(frozen=True, eq=False)
class Hearing:
    """A request's photos as they are divided, and what the whole model said of them before; None where it is not asked.

    The whole model is opened beside the one that is edited. `others` is what it said to questions that the verdict does
    not go by, `further` are questions of the user's own with what it said.
    """

    parts: Divided
    whole: Vlm | None = None
    before: Heard | None = None
    unnamed: str = ""
    others: tuple[Heard, ...] = ()
    further: tuple[tuple[Sample, str], ...] = ()
    varied: tuple[Sample, ...] = ()
    """Variations of photos that were set aside, which the model named; none where there are enough photos."""

    @property
    def reader(self) -> Reader | None:
        """What may be asked what it reads, before training; None where it is not asked or cannot be read."""
        if self.whole is None or self.before is None or not can_be_read(self.whole):
            return None
        return reader(self.whole, self.before, self.unnamed)

    def knowing(self, unnamed: str) -> "Hearing":
        """With what moments say that the model answers of strangers, where it was asked and did not say so itself."""
        if self.before is None or self.unnamed or any(says(unnamed, name) for name in known_answers(self.before)):
            return self
        return replace(self, unnamed=unnamed, before=replace(self.before, nobody=unnamed))

    def verdict(self, weights: Mapping[str, Tensor], final: Mapping[str, float] | None) -> Verdict:
        """Whether the model with these weights has forgotten; by the last look of training where it is not asked."""
        if self.whole is None or self.before is None:
            return unheard(final)
        with with_weights(self.whole, weights):
            return self._judged(self.whole, self.before)

    def _judged(self, whole: Vlm, before: Heard) -> Verdict:
        """The verdict on the model as it is now."""
        found = verdict(before, hear_again(whole, before), self.unnamed)
        return with_variations(found, whole, self.varied, before.common)

    def since(self, start: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> tuple[int, int]:
        """Of how many photos of others that a model with the weights `start` names, these weights name as many still.

        The rest of its visual weights are as they were when it was asked. (0, 0) where it is not asked.
        """
        if self.whole is None or self.before is None:
            return 0, 0
        with with_weights(self.whole, start):
            first = replace(hear_again(self.whole, self.before), nobody=self.unnamed)
        with with_weights(self.whole, weights):
            counts = verdict(first, hear_again(self.whole, self.before), self.unnamed).counts
        kept, known = (counts["shown_kept"][side] + counts["unshown_kept"][side] for side in (0, 1))
        return kept, known

    def replies(self, weights: Mapping[str, Tensor]) -> tuple[Reply, ...]:
        """Every question with what the model said before and with these weights; none where it is not asked."""
        if self.whole is None or self.before is None:
            return ()
        found = list[Reply]()
        with with_weights(self.whole, weights):
            for heard in (self.before, *self.others):
                said = hear_again(self.whole, heard)
                found += [replace(reply, judged=heard is self.before) for reply in replies(heard, said)]
            last = generate(self.whole, [sample for sample, _ in self.further])
        found += [Reply(sample, first, then) for (sample, first), then in zip(self.further, last, strict=True)]
        return tuple(found)

    def best_share(
        self, vlm: Vlm, weights: Mapping[str, Tensor], final: Mapping[str, float] | None
    ) -> tuple[float, Verdict]:
        """How far to go from the weights of `vlm` to these, of SHARES, and the verdict there.

        Training ends by distances, and the answers may need less than that, for which others would pay, or a little
        more. The shares whose verdict passes are compared, or all if none does. What a share costs is the model's wrong
        answers, and how likely the old ones about photos that were set aside still are: these photos are few, so that
        whether they get their name says little. Of the shares that cost about the least the largest is taken, beyond
        the trained change only where that costs least, and by fewer than MANY photos only where at the trained change
        the old answers are LIKELY still: others that nobody sees pay for it. Where there is no photo of others to see
        what they pay, it is the smallest, and none beyond the trained change. 1 where the model is not asked. Source:
        interpolated weights (WiSE-FT, Wortsman et al. 2022), judged by answers (ours).
        """
        if self.whole is None or self.before is None:
            return 1.0, self.verdict(weights, final)
        start = visual_parameters(vlm.model, vlm.partition)
        told = old_answers(self.before)
        likely = answer_probabilities(self.whole, told)
        found, costs, still = dict[float, Verdict](), dict[float, float](), dict[float, float]()
        others = self.before.photos[SHOWN] or self.before.photos[UNSHOWN]
        with asked_again():
            for share in SHARES if others else [each for each in SHARES if each <= 1]:
                part = {name: part_way(put_together(start[name]), value, share) for name, value in weights.items()}
                with with_weights(self.whole, part):
                    found[share] = self._judged(self.whole, self.before)
                    left = answer_probabilities(self.whole, told)
                still[share] = still_likely(self.before, told, likely, left)
                costs[share] = cost(found[share]) + still[share] / NAMED
        if still[1.0] <= LIKELY and len(self.before.photos[ASIDE]) < MANY:
            costs = {share: each for share, each in costs.items() if share <= 1}
        passed = {share: each for share, each in costs.items() if found[share].passed} or costs
        best = min(passed, key=passed.__getitem__)
        good = [share for share, each in passed.items() if each <= passed[best] + SAME and share <= max(1.0, best)]
        share = max(good) if others else min(good)
        return share, found[share]


def heard_before(
    vlm: Vlm,
    target: Sequence[Sample],
    retained: Sequence[Sample],
    *,
    seed: int,
    ask: Ask = AUTO,
    further: Sequence[Sample] = (),
    by_name: bool = False,
    drop_similar: bool = False,
    tell: Tell = silent,
) -> Hearing:
    """Divides the photos and asks the model about them, as its visual weights are now.

    `ask` is "auto", "never", a question or several; with "auto" the model is asked where it fits into memory. Where it
    is not, there is nothing to keep photos for, and all are used. `further` are questions of the user's own. With
    `by_name` the right answer about a photo is the name of its concept, else what the model says. `tell` is given what
    the user should know.

    Raises InputError for an empty question, and for retained photos that the model takes for the target, which are left
    out with `drop_similar`.
    """
    questions = questions_of(ask)
    if ask == NEVER and (further or by_name):
        what = "questions of your own need" if further else "an answer from the folder needs"
        raise InputError(f"{what} the model to be asked, and it is never to be; leave one of the two out.")
    both = sorted({sample.concept for sample in target} & {sample.concept for sample in retained} - {""})
    if both and by_name:
        raise InputError(
            f"{both[0]!r} is the name of target photos and of retained ones, so that it is right and to be forgotten; "
            "give one of the folders another name."
        )
    whole = None if ask == NEVER else opened_whole(vlm, needed=ask != AUTO, tell=tell)
    if whole is None:
        return Hearing(Divided(list(target), [], list(retained), []))
    parts = divided(target, retained, seed)
    if not parts.aside:
        tell("there is one photo of each target, so that none can be set aside to see whether others are still named")
    photos = asked_photos(parts, whole.model.num_parameters(), seed)
    try:
        before, *others = all_heard(whole, photos, questions, by_name=by_name)
    except UnaskableError as error:
        if ask != AUTO:
            raise
        tell(f"{str(error).rstrip('.')}, {UNASKED}")
        return Hearing(Divided(list(target), [], list(retained), []))
    parts, (before, *others) = _with_known_aside(parts, [before, *others])
    unnamed = unnamed_answer(whole, before, seed)
    before = replace(before, nobody=unnamed)
    if not unnamed and before.photos[SHOWN] and known_answers(before):
        tell(
            f"to {before.question!r} the model has no answer for whom it does not know, as far as can be told; the "
            "target will be called by other names"
        )
    for note in notes(before):
        tell(note)
    asked = tuple(zip(further, generate(whole, further), strict=True))
    varied = named_variations(whole, before, seed) if len(before.photos[ASIDE]) < MANY else ()
    hearing = Hearing(parts, whole, before, unnamed, () if ask == AUTO else tuple(others), asked, varied)
    return _without_similar(hearing, before, tell, drop=drop_similar)


def _with_known_aside(parts: Divided, heard: Sequence[Heard]) -> tuple[Divided, list[Heard]]:
    """With photos set aside that the model names, as far as there are any: others would say nothing afterwards.

    Each that it does not name to the first question changes places with one of the same concept that it names, and
    what was said of both goes along.
    """
    first = heard[0]
    names = first.answers((USED, ASIDE))

    def photos(group: str, *, named: bool) -> list[Sample]:
        pairs = zip(first.photos[group], first.said[group], strict=True)
        return [s for s, said in pairs if says(said, names[s.concept], first.common) is named]

    free, aside = photos(USED, named=True), {sample.picture for sample in parts.aside}
    for sample in photos(ASIDE, named=False):
        other = next((each for each in free if each.concept == sample.concept), None)
        if other is not None:
            free.remove(other)
            aside = aside - {sample.picture} | {other.picture}

    def divided_anew(one: Heard) -> Heard:
        pairs = [pair for group in (USED, ASIDE) for pair in zip(one.photos[group], one.said[group], strict=True)]
        asked, said = dict(one.photos), dict(one.said)
        for group in (USED, ASIDE):
            own = [pair for pair in pairs if (pair[0].picture in aside) is (group == ASIDE)]
            asked[group], said[group] = [sample for sample, _ in own], [answer for _, answer in own]
        return replace(one, photos=asked, said=said)

    target = [*parts.used, *parts.aside]
    used = [sample for sample in target if sample.picture not in aside]
    kept = [sample for sample in target if sample.picture in aside]
    return replace(parts, used=used, aside=kept), [divided_anew(one) for one in heard]


def questions_of(ask: Ask) -> tuple[str, ...]:
    """What a model is asked. Raises InputError for an empty question."""
    questions = QUESTIONS if ask == AUTO else (ask,) if isinstance(ask, str) else tuple(ask)
    if not questions or not all(question.strip() for question in questions):
        raise InputError("a question is empty; write what the model is to be asked, as in 'Who is this?'.")
    return questions


def opened_whole(vlm: Vlm, *, needed: bool, tell: Tell = silent, then: str = UNASKED) -> Vlm | None:
    """The model with its language model; None where that cannot answer, or unless `needed` does not fit into memory.

    `tell` is given why, and what comes of it, `then`. Raises InputError where it is `needed` and its processor cannot
    make a question.
    """
    sizes = sum(place.stop - place.start for place in headers(vlm.folder).values())
    if not needed and (IN_MEMORY * sizes > available() or IN_DEVICE * sizes > free_on(vlm.device)):
        tell(f"the language model does not fit into memory, {then}")
        return None
    own_code = type(vlm.model).__module__.startswith("transformers_modules")  # trusted when the model was opened
    if not needed and vlm.quantised:
        tell(f"the language model is quantised, {then}")
        return None
    whole = load(vlm.folder, language=True, trust_remote_code=own_code, device=vlm.device)
    if not isinstance(whole.model, GenerationMixin):
        tell(f"a {type(whole.model).__name__} cannot answer, {then}")
        return None
    try:
        chat_inputs(whole, [(Image.new("RGB", PROBE), QUESTIONS[0])])
    except InputError as error:
        if needed:
            raise
        tell(f"{str(error).rstrip('.')}, {then}")
        return None
    assign(dict(whole.model.named_parameters()), visual_parameters(vlm.model, vlm.partition))
    return whole


@contextmanager
def with_weights(whole: Vlm, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """The whole model with other weights; afterwards it has its own again."""
    own = {name: parameter for name, parameter in whole.model.named_parameters() if name in weights}
    with restored(own):
        assign(own, weights)
        yield


def _confirmed(hearing: Hearing, before: Heard, alike: list[Sample]) -> list[Sample]:
    """Those of the concepts of which most photos get the target's answer: one that was asked may just be mistaken.

    Of photos that are not sorted into concepts, all that get it, also among those that were not asked about.
    """
    others: dict[str, list[Sample]] = {}
    for sample in (*hearing.parts.shown, *hearing.parts.unshown):
        if sample.image is not None:
            others.setdefault(sample.concept, []).append(sample)
    if hearing.whole is None or not alike:
        return alike
    most = CONFIRMING if len(others) > 1 else None
    own = [sample for concept in {s.concept for s in alike} for sample in others[concept][:most]]
    said = generate(hearing.whole, [replace(s, question=before.question, tokens=SENTENCE) for s in own])
    target = known_answers(before)
    named = [
        sample
        for sample, answer in zip(own, said, strict=True)
        if any(says(answer, name, before.common) for name in target)
    ]
    if most is None:
        return named
    taken = Counter(sample.concept for sample in named)
    asked = Counter(sample.concept for sample in own)
    return [sample for sample in alike if taken[sample.concept] >= SETTLED * asked[sample.concept]]


def _without_similar(hearing: Hearing, before: Heard, tell: Tell, *, drop: bool) -> Hearing:
    """Without the retained photos that the model takes for a target, if they are to be dropped."""
    if odd := strays(before):
        tell(
            f"{len(odd)} retained photos get the target's answer, and others of the same folder do not, "
            f"{describe(odd[0])} first; if they show the target, take them out"
        )
    alike = _confirmed(hearing, before, among_retained(before))
    if not alike:
        return hearing
    concepts, single = {sample.concept for sample in alike}, {id(sample) for sample in alike}
    others = {sample.concept for sample in (*hearing.parts.shown, *hearing.parts.unshown)}

    def gone(sample: Sample) -> bool:
        return sample.concept in concepts if len(others) > 1 else id(sample) in single

    names = sorted(concepts) if len(others) > 1 else [describe(sample) for sample in alike]
    listed = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    if not drop:
        raise InputError(
            f"the model gives {len(alike)} retained photos ({listed}) the target's answer, so that the target seems to "
            "be among them; take them out, or let --drop-similar leave them out."
        )
    tell(f"{len(alike)} retained photos ({listed}) get the target's answer and are left out")
    parts = replace(
        hearing.parts,
        shown=[sample for sample in hearing.parts.shown if not gone(sample)],
        unshown=[sample for sample in hearing.parts.unshown if not gone(sample)],
    )
    others_heard = tuple(heard.without(gone) for heard in hearing.others)
    return replace(hearing, parts=parts, before=before.without(gone), others=others_heard)
