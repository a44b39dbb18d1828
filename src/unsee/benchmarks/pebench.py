"""PEBench: 200 fictitious people in about 40 scenes each (Xu et al. 2025, arXiv 2503.12545)."""

import random
from collections.abc import Iterator
from pathlib import Path

from unsee.benchmarks.benchmark import Benchmark
from unsee.benchmarks.published import benchmark, folder_of, split_of
from unsee.data.images import check_header
from unsee.errors import InputError
from unsee.records import Sample

HUB = "hf://xuzhaopan/PEBench"
SPLITS = {"forget_05": 0.05, "forget_10": 0.1, "forget_15": 0.15}
NAME = "What is the name of the person in the image?"
ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
FEWEST = 2  # pictures of a person


def load(split: str = "forget_05", data: str = HUB, seed: int = 0) -> Benchmark:
    """One split: recognition, the name occurs in the answer; people only, not events.

    Every folder of pictures is a person, named like it, wherever it lies. Half of somebody's pictures, drawn with the
    seed, are the request's (target_seen) or those to keep, about the others it is asked (target, retained). No split
    and no prompt is published: who is forgotten is drawn with the seed, and the question is ours.

    Raises InputError for an unknown split, and for a folder without pictures of two people.
    """
    share = SPLITS[split_of(split, SPLITS, "pebench")]
    folder = folder_of(data)
    people: dict[str, list[Path]] = {}
    for file in sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS):
        people.setdefault(file.parent.name, []).append(file)
    few = next((name for name, own in people.items() if len(own) < FEWEST), None)
    if len(people) < 2 or few is not None:
        found = f"one picture of {few}" if few is not None else f"pictures of {len(people)} people"
        raise InputError(f"{folder} holds {found}; expected a folder of two pictures or more for each of many people.")
    drawn = random.Random(seed)
    gone = set(drawn.sample(sorted(people), max(1, round(share * len(people)))))
    target, retained, questions = list[Sample](), list[Sample](), list[Sample]()
    for name, own in people.items():
        files = drawn.sample(own, len(own))
        for file in files:
            check_header(file)
        shown, others = files[: len(files) // 2], files[len(files) // 2 :]
        if name in gone:
            target += _asked(name, shown, "target_seen")
            questions += _asked(name, others, "target")
        else:
            retained += _asked(name, shown, "retained")
            questions += _asked(name, others, "retained")
    return benchmark("pebench", split, target, retained, [*target, *questions], confidence="recognition/target")


def _asked(name: str, files: list[Path], subset: str) -> Iterator[Sample]:
    for file in files:
        yield Sample(file, name, NAME, name, score="recognition", subset=subset, measure="cloze")
