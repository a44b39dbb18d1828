"""What came of a request, measured on one's own photos and questions: scores, examples, and every answer.

Source: ours.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from unsee.benchmarks.benchmark import Benchmark
from unsee.data import open_image
from unsee.evaluation.evaluate import png_uri
from unsee.evaluation.scoring import Answers, scores
from unsee.metrics.measures import measured
from unsee.records import OWN, Example, Reply, Sample, Score
from unsee.system.terminal import as_text

NAME = OWN
CARDS = {"target": 6, "target_seen": 2, "retained": 4, "unshown": 2, "stranger": 2}  # most photos of each subset
SIDES = {"target": "target", "target_seen": "target", "retained": "others", "unshown": "others"}
ON_CARD = 3  # most questions about one


def benchmark(questions: Sequence[Sample], target: Sequence[Sample] = (), retained: Sequence[Sample] = ()) -> Benchmark:
    """The questions as a benchmark."""
    return Benchmark(NAME, "", None, None, list(target), list(retained), list(questions), [])


def reply_scores(replies: Sequence[Reply]) -> list[Score]:
    """Shares of expected answers before and after, by what each question counts towards."""
    samples = [reply.sample for reply in replies]
    said = both(replies)
    answers = {
        phase: Answers(own, [measured(text, sample) for text, sample in zip(own, samples, strict=True)], [])
        for phase, own in said.items()
    }
    return scores(benchmark(samples), answers)


def further(replies: Sequence[Reply]) -> dict[str, dict[str, int]]:
    """Of the questions about who it is that no verdict goes by, how many were right `before` and are `after`.

    About the target and about others each, with how many of these `questions` there are; none of whom nothing is asked.
    """
    found = dict[str, dict[str, int]]()
    for reply in replies:
        side = SIDES.get(reply.sample.subset or "")
        if reply.judged or side is None or reply.sample.score != "recognition":
            continue
        counts = found.setdefault(side, {"questions": 0, "before": 0, "after": 0})
        counts["questions"] += 1
        for phase, said in (("before", reply.before), ("after", reply.after)):
            counts[phase] += measured(said, reply.sample) >= 1
    return found


def examples(replies: Sequence[Reply]) -> list[Example]:
    """Some of the photos of each subset, concepts in turn, with some questions each, those about who it is first."""
    found = []
    for subset, most in CARDS.items():
        photos: dict[Path | int, list[Reply]] = {}
        for reply in replies:
            if reply.sample.subset == subset and reply.sample.image is not None:
                photos.setdefault(reply.sample.picture, []).append(reply)
        for own in _in_turn(list(photos.values()))[:most]:
            picture = png_uri(open_image(own[0].sample))
            for reply in sorted(own, key=lambda one: one.sample.score != "recognition")[:ON_CARD]:
                s, said = reply.sample, {"before": reply.before, "after": reply.after}
                found.append(Example(subset, s.concept, picture, s.question, s.answer, said))
    return found


def _in_turn(photos: Sequence[list[Reply]]) -> list[list[Reply]]:
    """Each concept's first, then each one's second, and so on."""
    times: dict[str, int] = {}
    ranked = []
    for own in photos:
        concept = own[0].sample.concept
        times[concept] = rank = times.get(concept, 0) + 1
        ranked.append((rank, own))
    return [own for _, own in sorted(ranked, key=lambda pair: pair[0])]


def write_answers(samples: Sequence[Sample], said: Mapping[str, Sequence[str]], file: Path) -> None:
    """Writes answers.jsonl: every question with the expected answer and what each model said, one a line.

    Of a photo stands the name of its file, or nothing where it was in memory; where two files share it, every name has
    as many folders before it as tell all apart.
    """
    files = {s.image for s in samples if isinstance(s.image, Path)}
    parts = 1
    while len({each.parts[-parts:] for each in files}) < len(files):
        parts += 1
    with file.open("w", encoding="utf-8") as lines:
        for place, s in enumerate(samples):
            row = {
                "subset": s.subset,
                "score": s.score,
                "concept": s.concept,
                "image": as_text("/".join(s.image.parts[-parts:])) if isinstance(s.image, Path) else None,
                "question": s.question,
                "expected": s.answer,
                **{phase: answers[place] for phase, answers in said.items()},
            }
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def both(replies: Sequence[Reply]) -> dict[str, list[str]]:
    """What was said, by phase."""
    return {"before": [reply.before for reply in replies], "after": [reply.after for reply in replies]}
