"""UMU-Bench: every fact asked with and without an image (Wang et al. 2025)."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unsee.benchmarks.benchmark import Benchmark
from unsee.benchmarks.published import (
    ZERO_SHOT,
    Protocol,
    TableRow,
    benchmark,
    field,
    overlaps,
    picture,
    rows,
    split_of,
)
from unsee.errors import InputError
from unsee.metrics.answers import shuffled
from unsee.records import Sample

HUB = "hf://linbojunzi/UMU-bench"
SPLITS = {
    "forget_05": ("forget_5", "retain_95"),
    "forget_10": ("forget_10", "retain_90"),
    "forget_15": ("forget_15", "retain_85"),
}
REAL, REAL_HERE = "Real_Person_Set", "real_person"  # on the hub, and in folders that the official code reads
SIDES = (("muitimodal", ""), ("unimodal", "_text"))  # the first is how the benchmark spells it
CLOZE = "Please **ONLY** provide the correct answer without any explanation"
GENERATION = "Answer the question based on your trained knowledge in one sentence accurately in ENGLISH."
GENERATION_TEXT = "Answer the question based on your trained knowledge in one sentence in ENGLISH."
TOKENS = {"Classify": 50, "Cloze": 50, "Generation": 200}  # most of an answer, in the official code
BUGS = {
    "text_key": "the right option of an image question is taken from the text question beside it",
    "nearest_real": "about real people, the option that an answer is most like counts as chosen",
}


def load(split: str = "forget_05", data: str = HUB, protocol: Protocol = ZERO_SHOT) -> Benchmark:
    """One split. There is one image a person, so that all questions are about the request's own (target_seen).

    classification: the text of the right option, exactly; cloze: the answer occurs; generation: ROUGE and BLEU. Scores
    end in _text where a question has no image; as every fact is asked both ways, there are scores of both together.
    Zero-shot: options shuffled by the seed. Official: options as they are, at most 50 and 200 tokens.

    Raises InputError for an unknown split, and for a folder that is not as it is published.
    """
    forget, retain = SPLITS[split_of(split, SPLITS, "umu")]
    gone, kept = [*_asked(data, forget, "target_seen", protocol)], [*_asked(data, retain, "retained", protocol)]
    real = [*_asked(data, REAL_HERE if (Path(data) / REAL_HERE).is_dir() else REAL, "real", protocol)]
    confidence = "generation/target_seen"
    return benchmark("umu", split, gone, kept, [*gone, *kept, *real], confidence=confidence, protocol=protocol)


def _asked(data: str, config: str, subset: str, protocol: Protocol) -> Iterator[Sample]:
    for where, row in rows(data, config, ("ID", "image", "Classify", "Cloze", "Generation")):
        image, concept = picture(row["image"], where), str(field(row, "ID", where))
        for task in ("Classify", "Cloze", "Generation"):
            parsed = _literal(row, task, where)
            for side, ending in SIDES:
                for key, one in field(parsed, side, f"{where} {task}").items():
                    if task == "Classify" and "text_key" in protocol.bugs:
                        one = {**one, "answer": field(field(parsed, "unimodal", where), key, where)["answer"]}
                    sample = Sample(
                        None if ending else image,
                        concept,
                        subset=subset,
                        score={"Classify": "classification"}.get(task, task.lower()) + ending,
                        fact=f"{where} {task} {key}",
                        tokens=TOKENS[task] if protocol.official else 0,
                        **_parts(task, one, where, protocol, text=bool(ending)),
                    )
                    if task == "Classify" and subset == "real" and "nearest_real" in protocol.bugs:
                        sample = replace(sample, reading="nearest option")
                    yield from overlaps(sample) if task == "Generation" else (sample,)


def _literal(row: TableRow, key: str, where: str) -> Mapping[str, Any]:
    """A column that holds a Python literal as text."""
    try:
        value = ast.literal_eval(row[key])
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise InputError(f"{where} has a {key!r} that is no Python literal ({error}); get the row again.") from error
    if not isinstance(value, dict):
        raise InputError(f"{where} has a {key!r} that is no dictionary; get the row again.")
    return value


def _parts(task: str, one: Mapping[str, Any], where: str, protocol: Protocol, *, text: bool) -> dict[str, Any]:
    question, answer = (str(field(one, name, where)) for name in ("question", "answer"))
    if task == "Cloze":
        return {"question": f"{question}\n{CLOZE}", "answer": answer.split(".")[0], "measure": "cloze"}
    if task == "Generation":
        prompt = GENERATION_TEXT if text and protocol.official else GENERATION
        return {"question": f"{question}\n{prompt}", "answer": answer}
    options = {name: str(text) for name, text in field(one, "options", where).items()}
    right = answer.split(".")[0]
    if right not in options:
        raise InputError(f"{where} has the answer {answer!r}, which is not among its options {sorted(options)}.")
    order = list(options.values())
    if not protocol.official:
        order, _ = shuffled(order, options[right], f"{protocol.seed} {question} {order}")
    return {"question": f"{question}\nSelect answer in {order}", "answer": options[right], "options": tuple(order)}
