"""Questions about one's own photos, with the answers that count as right."""

from collections.abc import Sequence

from unsee.data.requested import shown_in
from unsee.errors import InputError
from unsee.evaluation.heard import ASIDE, SHOWN, UNSHOWN, USED, Heard
from unsee.evaluation.self_check import QUESTIONS, all_heard, replies
from unsee.models.checkpoint import Vlm
from unsee.records import Request, Sample


def photo_questions(
    target: Sequence[Sample],
    retained: Sequence[Sample],
    *,
    request: Request | None = None,
    questions: Sequence[str] = (),
    known: str | None = None,
    before: Vlm | None = None,
    by_name: bool = False,
) -> list[Sample]:
    """Each question about each photo; photos of the target that the request trained on count by themselves.

    So do photos of others that it kept out of training.

    Right is what the model `before`, opened with its language model, says of most photos of a concept; with `by_name`
    the concept's name. Without questions the one that is `known` to name the target is asked, or that of the usual ones
    which does so best. Source: ours.

    Raises InputError for an empty question, where nothing says what is right, and where `before` says nothing.
    """
    photos: dict[str, list[Sample]] = {USED: [], ASIDE: [], SHOWN: [], UNSHOWN: []}
    for side, apart, plain in ((target, USED, ASIDE), (retained, UNSHOWN, SHOWN)):
        where = shown_in(request, side) if request else [""] * len(side)
        for sample, place in zip(side, where, strict=True):
            photos[apart if place == apart else plain].append(sample)
    asked = tuple(questions) or ((known,) if known else QUESTIONS)
    if not all(question.strip() for question in asked):
        raise InputError("a question is empty; write what the model is to be asked, as in 'Who is this?'.")
    if by_name:
        blank = {group: [""] * len(own) for group, own in photos.items()}
        heard = [Heard(question, photos, blank, by_name=True) for question in asked]
    elif before is None:
        raise InputError(
            "nothing says which answers are right; give the checkpoint before the request with --before, or "
            "--answer-from-folder where folders have the right names."
        )
    else:
        heard = all_heard(before, photos, asked)
    heard = heard if questions else heard[:1]
    found = [reply.sample for each in heard for reply in replies(each, each) if reply.sample.answer.strip()]
    if not found:
        raise InputError(
            f"the model before says nothing to {asked[0]!r} about these photos, so that nothing can be compared; "
            "ask another --question, or give right answers with --questions or --answer-from-folder."
        )
    return found
