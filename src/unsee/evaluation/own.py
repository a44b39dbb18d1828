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
from unsee.records import Example, Reply, Sample, Score

NAME = "own photos"
CARDS = {"target": 6, "target_seen": 2, "retained": 4, "unshown": 2, "stranger": 2}  # most examples of each subset


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


def examples(replies: Sequence[Reply]) -> list[Example]:
    """Some of the photos of each subset, whose answer changed first, concepts in turn."""
    found = []
    for subset, most in CARDS.items():
        own = [reply for reply in replies if reply.sample.subset == subset and reply.sample.image is not None]
        for reply in _in_turn(sorted(own, key=lambda one: (one.before == one.after) == subset.startswith("target")))[
            :most
        ]:
            s = reply.sample
            said = {"before": reply.before, "after": reply.after}
            found.append(Example(subset, s.concept, png_uri(open_image(s)), s.question, s.answer, said))
    return found


def _in_turn(replies: Sequence[Reply]) -> list[Reply]:
    """Each concept's first, then each one's second, and so on."""
    times: dict[str, int] = {}
    ranked = []
    for reply in replies:
        times[reply.sample.concept] = rank = times.get(reply.sample.concept, 0) + 1
        ranked.append((rank, reply))
    return [reply for _, reply in sorted(ranked, key=lambda pair: pair[0])]


def write_answers(samples: Sequence[Sample], said: Mapping[str, Sequence[str]], file: Path) -> None:
    """Writes answers.jsonl: every question with the expected answer and what each model said, one a line.

    Of a photo the name of its file stands there, or nothing where it was in memory.
    """
    with file.open("w", encoding="utf-8") as lines:
        for place, s in enumerate(samples):
            row = {
                "subset": s.subset,
                "score": s.score,
                "concept": s.concept,
                "image": s.image.name if isinstance(s.image, Path) else None,
                "question": s.question,
                "expected": s.answer,
                **{phase: answers[place] for phase, answers in said.items()},
            }
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def both(replies: Sequence[Reply]) -> dict[str, list[str]]:
    """What was said, by phase."""
    return {"before": [reply.before for reply in replies], "after": [reply.after for reply in replies]}
