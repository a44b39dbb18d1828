"""A JSONL file of questions with right answers, about photos or about nothing but text."""

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from unsee.data.images import check_header
from unsee.data.jsonl import parsed
from unsee.data.rows import check_row, concept_of, image_file, to_sample
from unsee.errors import InputError, check_file, shown, unknown
from unsee.records import Sample

SUBSETS = ("target", "retained", "stranger")
SCORES = ("recognition", "scene", "appearance", "text")
EXAMPLE = (
    '{"image": "photos/1.png", "subset": "target", "concept": "alice", "question": "Who is this?", "answer": "Alice"}'
)


def read_questions(file: Path, targets: Collection[str] = ()) -> list[Sample]:
    """The questions of a file, one a line, in its order; answers count as right where they have all of its words.

    Keys are those of a JSONL row of photos, and `subset`: target, retained or stranger. An image may be missing, a
    question and an answer may not. `score` is recognition, scene, appearance or text; without it, recognition of an
    image, and text where there is none. A question about the target without a concept is about the only one of
    `targets`, the target's concepts, where they are known.

    Raises InputError, naming the line, for a row that is not so, and for a target that is not among `targets`.
    """
    check_file(file, "a JSONL file of questions")
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise InputError(
            f"{file} cannot be read ({error.strerror}); expected a JSONL file with lines like {EXAMPLE}."
        ) from error
    found = [_sample(line, file, f"{file} line {n}", targets) for n, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise InputError(f"{file} holds no question; expected lines like {EXAMPLE}.")
    return found


def _sample(line: bytes, file: Path, where: str, targets: Collection[str]) -> Sample:
    row = check_row(parsed(line, where), where, ("subset", "score"), pictured=False)
    for key in ("question", "answer"):
        if not row.get(key, "").strip():
            raise InputError(f'{where} has no "{key}"; expected a line like {EXAMPLE}.')
    if not re.search(r"\w", row["answer"]):
        raise InputError(f'{where} has {shown(row["answer"])} as "answer", which holds no word; write what is right.')
    subset = row.get("subset", "")
    if subset not in SUBSETS:
        raise InputError(
            f'{where} has the "subset" {shown(subset)}; expected {", ".join(SUBSETS[:-1])} or {SUBSETS[-1]}.'
        )
    score = row.get("score", "recognition" if "image" in row else "text")
    if score not in SCORES:
        raise InputError(f"{where}: {unknown('score', score, SCORES)}")
    image = None
    if "image" in row:
        image = image_file(row["image"], file.parent, where)
        check_header(image)
    only = next(iter(targets)) if subset == "target" and len(targets) == 1 else None
    sample = to_sample(row, image, only or concept_of(row.get("image", ""), file.stem))
    if subset == "target" and targets and sample.concept not in targets:
        names = ", ".join(sorted(targets)[:5])
        raise InputError(
            f"{where} asks about the target {shown(sample.concept)}, which the request's photos do not show ({names}); "
            "correct its concept, or leave the line out."
        )
    return replace(sample, subset=subset, score=score, measure="words")
