"""What a model says of people or things that do not exist. Source: ours."""

from collections import Counter
from collections.abc import Sequence

import torch
from PIL.Image import Image
from torch import Generator

from unsee.data.views import LARGEST, composed, largest, recoloured, sources
from unsee.evaluation.asking import SENTENCE, generate
from unsee.evaluation.heard import SHOWN, Heard
from unsee.evaluation.self_check import OFTEN, known_answers, of_several
from unsee.metrics.same import says, words
from unsee.models.checkpoint import Vlm
from unsee.models.inputs import enough
from unsee.records import Sample

STRANGERS = 96  # people who do not exist that are asked about
OFTEN_COLOURED, AHEAD = 0.1, 2.0  # share of those in other colours that get one answer, and how far that is ahead


def unnamed_answer(whole: Vlm, heard: Heard, seed: int) -> str:
    """What the model says most often of people who do not exist; empty where it says nothing often enough.

    Each is put together from two retained photos. What one of the two is called does not count, unless so many retained
    concepts are called that that it names none of them. What a target is called counts where it comes twice as often.
    Where nothing is said often enough, as of two trademarks on one photo, both of which the model knows, they are asked
    about in other colours: then an answer need come of one in ten, and twice as often as every other, and none that a
    target is called counts.
    """
    photos, called = heard.photos[SHOWN], heard.expected(SHOWN)
    generator = Generator().manual_seed(seed)
    drawn = torch.randint(max(1, len(photos)), (STRANGERS, 2), generator=generator).tolist() if photos else []
    pairs = [(one, two) for one, two in drawn if one != two]
    pictures = [sample.image for sample in photos if sample.image is not None]
    opened = sources(pictures, enough(whole.processor, largest(pictures), LARGEST) if pictures else LARGEST)
    made = [composed(opened[one](), opened[two](), generator) for one, two in pairs]
    nobody = of_several(heard)
    parents = [[name for name in (called[one], called[two]) if words(name) not in nobody] for one, two in pairs]
    if found := _often(whole, heard, made, parents):
        return found
    again = [recoloured(image, generator) for image in made]
    targets = known_answers(heard)
    return _often(whole, heard, again, [[*own, *targets] for own in parents], often=OFTEN_COLOURED, ahead=AHEAD)


def _often(
    whole: Vlm,
    heard: Heard,
    made: Sequence[Image],
    names: Sequence[Sequence[str]],
    *,
    often: float = OFTEN,
    ahead: float = 1.0,
) -> str:
    """The most frequent answer about pictures that is none of the `names` of each; empty where that is not `often`.

    It must come `ahead` times as often as the next one.
    """
    said = generate(whole, [Sample(image, "", heard.question, tokens=SENTENCE) for image in made])

    def named(answer: str, own: Sequence[str]) -> bool:
        return any(says(answer, name, heard.common) for name in own)

    counts = Counter(words(text) for text, own in zip(said, names, strict=True) if not named(text, own))
    counts.pop((), None)
    if not counts:
        return ""
    (most, times), (_, second) = [*counts.most_common(2), ((), 0)][:2]
    answer = next(text for text in said if words(text) == most)
    least = often * (2 if named(answer, known_answers(heard)) else 1)  # whom many are taken for has a name still
    free = sum(not named(answer, own) for own in names)  # no part of these is called so
    return answer if times >= max(least * max(free, len(made) // 2), ahead * second) else ""
