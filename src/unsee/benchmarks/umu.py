"""UMU-Bench: every fact asked with and without an image (Wang et al. 2025)."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unsee.benchmarks.benchmark import Benchmark
from unsee.benchmarks.published import Row, checked, field, photos, picture, rows, split_of
from unsee.errors import InputError
from unsee.records import Sample

HUB = "linbojunzi/UMU-bench"
SPLITS = {
    "forget_05": ("forget_5", "retain_95"),
    "forget_10": ("forget_10", "retain_90"),
    "forget_15": ("forget_15", "retain_85"),
}
REAL, REAL_HERE = "Real_Person_Set", "real_person"  # on the hub, and in folders that the official code reads
SIDES = (("muitimodal", ""), ("unimodal", "_text"))  # the first is how the benchmark spells it
CLOZE = "Please **ONLY** provide the correct answer without any explanation"
GENERATION = "Answer the question based on your trained knowledge in one sentence accurately in ENGLISH."


def load(split: str = "forget_05", data: str = HUB) -> Benchmark:
    """One split; each person has one image, so that nothing is asked about another (target_seen).

    classification: the text of the right option, exactly; cloze: the answer occurs; generation: ROUGE-L F. Scores end
    in _text where a question has no image. The official code takes the right option of an image question from the text
    question beside it; this takes its own.

    Raises InputError for an unknown split, and for a folder that is not as it is published.
    """
    forget, retain = SPLITS[split_of(split, SPLITS, "umu")]
    gone, kept = [*_asked(data, forget, "target_seen")], [*_asked(data, retain, "retained")]
    real = [*_asked(data, REAL_HERE if (Path(data) / REAL_HERE).is_dir() else REAL, "real")]
    return checked(Benchmark("umu", split, None, None, photos(gone), photos(kept), [*gone, *kept, *real], []))


def _asked(data: str, config: str, subset: str) -> Iterator[Sample]:
    for where, row in rows(data, config, ("ID", "image", "Classify", "Cloze", "Generation")):
        image, concept = picture(row["image"], where), str(field(row, "ID", where))
        for task in ("Classify", "Cloze", "Generation"):
            parsed = _literal(row, task, where)
            for side, ending in SIDES:
                for one in field(parsed, side, f"{where} {task}").values():
                    yield Sample(
                        None if ending else image,
                        concept,
                        subset=subset,
                        score={"Classify": "classification"}.get(task, task.lower()) + ending,
                        **_parts(task, one, where),
                    )


def _literal(row: Row, key: str, where: str) -> Mapping[str, Any]:
    """A column that holds a Python literal as text."""
    try:
        value = ast.literal_eval(row[key])
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise InputError(f"{where} has a {key!r} that is no Python literal ({error}); get the row again.") from error
    if not isinstance(value, dict):
        raise InputError(f"{where} has a {key!r} that is no dictionary; get the row again.")
    return value


def _parts(task: str, one: Mapping[str, Any], where: str) -> dict[str, Any]:
    question, answer = (str(field(one, name, where)) for name in ("question", "answer"))
    if task == "Cloze":
        return {"question": f"{question}\n{CLOZE}", "answer": answer.split(".")[0], "measure": "cloze"}
    if task == "Generation":
        return {"question": f"{question}\n{GENERATION}", "answer": answer, "measure": "ROUGE-L F"}
    options = {name: str(text) for name, text in field(one, "options", where).items()}
    right = answer.split(".")[0]
    if right not in options:
        raise InputError(f"{where} has the answer {answer!r}, which is not among its options {sorted(options)}.")
    order = tuple(options.values())
    return {"question": f"{question}\nSelect answer in {list(order)}", "answer": options[right], "options": order}
