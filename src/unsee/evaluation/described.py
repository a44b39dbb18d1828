"""What a model reads of retained photos, and what it says of strangers: measured once, for requests without photos."""

from collections import Counter
from collections.abc import Sequence

from unsee.data.aside import Divided
from unsee.errors import UnaskableError
from unsee.evaluation.heard import SHOWN, UNSHOWN, Heard
from unsee.evaluation.hearing import AUTO, NEVER, Ask, Tell, opened_whole, questions_of, silent
from unsee.evaluation.self_check import asked_photos, hear
from unsee.evaluation.self_check import reader as made_reader
from unsee.evaluation.strangers import unnamed_answer
from unsee.metrics.same import says, words
from unsee.models.checkpoint import Vlm
from unsee.moments.reading import Reader, can_be_read
from unsee.records import Sample

UNREAD = "so that it is not asked, and photos are described by means over their tokens"


def described(
    vlm: Vlm, retained: Sequence[Sample], seed: int, ask: Ask = AUTO, tell: Tell = silent
) -> tuple[Reader | None, str]:
    """Who says what the model reads of retained photos, and what it says most often of people who do not exist.

    None, and nothing, where it is not asked: with "never", and with "auto" where it does not fit into memory, cannot
    answer, or cannot be asked, which is told. Raises InputError for an empty question.
    """
    questions = questions_of(ask)
    whole = None if ask == NEVER else opened_whole(vlm, needed=ask != AUTO, tell=tell, then=UNREAD)
    if whole is None:
        return None, ""
    photos = asked_photos(Divided([], [], list(retained), []), whole.model.num_parameters(), seed)
    try:
        heard = max((hear(whole, photos, question) for question in questions), key=_telling)
    except UnaskableError as error:
        if ask != AUTO:
            raise
        tell(f"{str(error).rstrip('.')}, {UNREAD}")
        return None, ""
    unnamed = unnamed_answer(whole, heard, seed)
    return (made_reader(whole, heard, unnamed) if can_be_read(whole) else None), unnamed


def _telling(heard: Heard) -> float:
    """How much oftener photos get the answer of their own concept than the answer that is given most of all."""
    said, photos = heard.said[SHOWN], heard.photos[SHOWN]
    names = heard.answers((SHOWN, UNSHOWN))
    own = sum(says(answer, names[sample.concept], heard.common) for answer, sample in zip(said, photos, strict=True))
    return (own - Counter(map(words, said)).most_common(1)[0][1]) / max(1, len(said))
