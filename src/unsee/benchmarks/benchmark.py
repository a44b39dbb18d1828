"""What a benchmark is: a request, what is to be kept, and the questions that measure both."""

from dataclasses import dataclass, replace
from pathlib import Path

from unsee.records import Sample


@dataclass(frozen=True)
class Benchmark:
    """One split of a benchmark. Only the questions of the subset target_seen are about images of `target`.

    `model` and `oracle` are checkpoints that come with the benchmark, if any; `unknown` are images of concepts that no
    model knows, shown in the report's map. `confidence` is the score, as NAME/SUBSET, by whose questions an oracle is
    compared with; `utility` are those whose harmonic mean is the benchmark's own utility. `protocol` says how it was
    asked, where there are several ways.
    """

    name: str
    split: str
    model: Path | None
    oracle: Path | None
    target: list[Sample]
    retained: list[Sample]
    questions: list[Sample]
    unknown: list[Sample]
    confidence: str = "recognition/target"
    utility: tuple[str, ...] = ()
    protocol: str = ""


def thinned(benchmark: Benchmark, every: int) -> Benchmark:
    """The same benchmark with fewer questions: of the retained test photos, only every `every`-th is asked about.

    All questions about the target and all that have no photo stay; every >= 1.
    """
    kept, photos = [], dict[Path | int, int]()
    for question in benchmark.questions:
        if question.subset == "retained" and question.image is not None:
            number = photos.setdefault(question.picture, len(photos))
            if number % every:
                continue
        kept.append(question)
    return replace(benchmark, questions=kept)


def limited(benchmark: Benchmark, most: int) -> Benchmark:
    """The same benchmark with at most so many questions of each score and subset, evenly spread; most >= 1.

    The protocol says so, and with it every record of what was measured.
    """
    kinds = dict[tuple[str, str], list[int]]()
    for place, question in enumerate(benchmark.questions):
        kinds.setdefault((question.score, question.subset), []).append(place)
    kept = {
        places[number * len(places) // most] if len(places) > most else places[number]
        for places in kinds.values()
        for number in range(min(most, len(places)))
    }
    said = f"at most {most} questions of each score and subset"
    questions = [question for place, question in enumerate(benchmark.questions) if place in kept]
    return replace(benchmark, questions=questions, protocol=", ".join(filter(None, (benchmark.protocol, said))))
