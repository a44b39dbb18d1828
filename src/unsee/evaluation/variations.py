"""Photos that were set aside, in variations: few photos say little of others that nobody gave. Source: ours."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Generator

from unsee.data import open_image
from unsee.data.views import LARGEST, largest, shrunk, varied
from unsee.evaluation.asking import SENTENCE, generate
from unsee.evaluation.heard import ASIDE, USED, Heard
from unsee.evaluation.self_check import NAMED, unknown
from unsee.metrics.same import says
from unsee.models.checkpoint import Vlm
from unsee.models.inputs import enough
from unsee.records import Sample, Verdict

EACH = 8  # variations of each photo


def named_variations(whole: Vlm, before: Heard, seed: int) -> tuple[Sample, ...]:
    """Variations of the photos that were set aside to which the model gives their concept's answer, which each has."""
    names, strange = before.answers((USED, ASIDE)), set(unknown(before))
    own = [sample for sample in before.photos[ASIDE] if sample.image is not None and sample.concept not in strange]
    if not own:
        return ()
    side = enough(whole.processor, largest([sample.image for sample in own if sample.image is not None]), LARGEST)
    generator = Generator().manual_seed(seed)
    made = [
        replace(sample, image=image, question=before.question, answer=names[sample.concept], tokens=SENTENCE)
        for sample in own
        for image in varied([shrunk(open_image(sample), side)] * EACH, generator)
    ]
    said = generate(whole, made)
    return tuple(each for each, text in zip(made, said, strict=True) if says(text, each.answer, before.common))


def with_variations(found: Verdict, whole: Vlm, asked: Sequence[Sample], common: frozenset[str]) -> Verdict:
    """A verdict that counts of these variations, too, how many the model as it is now still names.

    It misses its aim where these are too many, as of the photos themselves.
    """
    if not asked:
        return found
    said = generate(whole, asked)
    still = sum(says(text, sample.answer, common) for sample, text in zip(asked, said, strict=True))
    counts, missed = {**found.counts, "aside_varied": (still, len(asked))}, found.missed
    if still > NAMED * len(asked) and "aside_named" not in missed:
        missed = ("aside_named", *missed)
    return replace(found, passed=not missed, counts=counts, missed=missed)
