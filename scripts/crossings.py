"""Does a model that re-reads the image leak what was forgotten at the projector alone?

    python scripts/crossings.py --seeds 0

The Vision-Remember-style model of `unsee.testing.vision_remember`, split forget_05, default settings of NSCVF, 10
retained photos of each person. Prints a markdown table as it goes; docs/crossings.md has the results.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import unsee
from unsee.benchmarks import personas
from unsee.benchmarks.benchmark import Benchmark
from unsee.evaluation.evaluate import evaluate
from unsee.methods import NSCVF
from unsee.models.checkpoint import Vlm
from unsee.records import Sample
from unsee.testing import vision_remember

COLUMNS = ("recognition/target_seen", "recognition/target", "recognition/retained", "scene/target")


def few_questions(bench: Benchmark, photos: int = 10, every: int = 5) -> Benchmark:
    """The benchmark with fewer retained photos, and the questions of every fifth retained test photo."""
    kept: dict[str, list[Sample]] = {}
    for sample in bench.retained:
        kept.setdefault(sample.concept, []).append(sample)
    images: dict[int, int] = {}
    questions = [
        q for q in bench.questions if q.subset != "retained" or images.setdefault(id(q.image), len(images)) % every == 0
    ]
    retained = [sample for samples in kept.values() for sample in samples[:photos]]
    return dataclasses.replace(bench, retained=retained, questions=questions, unknown=[])


def only_the_projector(vlm: Vlm) -> Vlm:
    """The same model, of which only the projector's layers may be trained."""
    linear = tuple(name for name in vlm.partition.linear if "multi_modal_projector" in name)
    return dataclasses.replace(vlm, partition=dataclasses.replace(vlm.partition, linear=linear))


def row(name: str, model: Path, bench: Benchmark) -> None:
    """Prints one line of the table."""
    scores = {f"{s.name}/{s.subset}": s.value for s in evaluate(model, bench).scores}
    print(f"| {name} | " + " | ".join(f"{scores[column]:.3f}" for column in COLUMNS) + " |", flush=True)


def main() -> None:
    """Forgets at the projector's output, in the projector's layers, and at every crossing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=NSCVF().steps)
    options = parser.parse_args()
    folder, bench = vision_remember(), few_questions(personas.load("forget_05"))
    print("| forgotten at | " + " | ".join(COLUMNS) + " |\n|---|" + "---|" * len(COLUMNS))
    row("nothing (before)", folder, bench)
    for seed in map(int, options.seeds.split(",")):
        for name, crossings, narrow in (
            ("every crossing", (), False),
            ("the projector's output", ("projector",), False),
            ("the projector's output, its own layers only", ("projector",), True),
        ):
            vlm = unsee.load(folder)
            edit = unsee.forget(
                only_the_projector(vlm) if narrow else vlm,
                bench.target,
                bench.retained,
                method=NSCVF(crossings=crossings, steps=options.steps),
                ask="never",
                seed=seed,
            )
            with tempfile.TemporaryDirectory() as place:
                row(f"{name}, seed {seed}", edit.save(Path(place) / "out", keep_anyway=True), bench)


if __name__ == "__main__":
    main()
