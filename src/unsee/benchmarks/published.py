"""What the readers of published benchmarks share: rows of a local folder or of the hub, and checks on them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL.Image import Image

from unsee.benchmarks.benchmark import Benchmark
from unsee.data import open_image
from unsee.data.images import decode
from unsee.data.tables import BATCH, DAMAGE, optional
from unsee.errors import InputError, unknown
from unsee.metrics.answers import shuffled
from unsee.models.foreign import first_line
from unsee.records import Sample
from unsee.system import hub

LETTERS = "ABCDEFGH"
LETTER_ALONE = "Just give ONE letter representing the answer directly."
TableRow = dict[str, Any]


@dataclass(frozen=True)
class Protocol:
    """How a benchmark is asked: zero-shot and soundly, or as its official code does, with these mistakes."""

    official: bool = False
    bugs: frozenset[str] = frozenset()
    seed: int = 0

    def __str__(self) -> str:
        return " with ".join(filter(None, ("official" if self.official else "zero-shot", ", ".join(sorted(self.bugs)))))


ZERO_SHOT = Protocol()


def rows(source: str, config: str, columns: Sequence[str]) -> Iterator[tuple[str, TableRow]]:
    """Each row of a config with the words for it in an error; one row in memory at a time.

    `source` is a folder with CONFIG/*.parquet or data/CONFIG-*.parquet, as published, or hf://OWNER/NAME, read through
    `datasets` as a stream. Raises InputError where a table or one of the columns is missing.
    """
    name = hub.on_hub(source)
    if name is None and not Path(source).is_dir():
        raise hub.refuse(source, "the benchmark's folder as it is published")
    found = _local(Path(source), config) if name is None else _hub(name, config)
    empty = True
    for number, row in enumerate(found):
        where = f"{source} {config} row {number}"
        missing = next((name for name in columns if name not in row), None)
        if missing is not None:
            raise InputError(
                f"{where} has no column {missing!r}; expected {', '.join(columns)}, so get the version of the "
                "benchmark that `unsee ls benchmarks` names."
            )
        empty = False
        yield where, row
    if empty:
        raise InputError(f"{source} {config} holds no row; get the benchmark again.")


def _local(folder: Path, config: str) -> Iterator[TableRow]:
    files = sorted([*folder.glob(f"{config}/*.parquet"), *folder.glob(f"data/{config}-*.parquet")])
    if not files:
        raise InputError(f"{folder} has no {config}/*.parquet; expected the benchmark's folder as it is published.")
    parquet = optional("pyarrow.parquet", folder)
    for file in files:
        try:
            with parquet.ParquetFile(file) as table:
                for batch in table.iter_batches(batch_size=BATCH):
                    yield from batch.to_pylist()
        except DAMAGE as error:
            raise InputError(f"{file} cannot be read ({first_line(error)}); get the file again.") from error


def _hub(name: str, config: str) -> Iterator[TableRow]:
    datasets = optional("datasets", name)
    try:
        streamed = datasets.load_dataset(name, config, split="train", streaming=True)
        plain = (
            streamed.cast_column("image", datasets.Image(decode=False)) if "image" in streamed.features else streamed
        )
        yield from plain
    except (*DAMAGE, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"{name} {config} is no dataset that the hub gives ({first_line(error)}); "
            "name the folder it was saved to with --data."
        ) from error


def folder_of(data: str) -> Path:
    """The folder of a benchmark of files, from here or from the hub. Raises InputError where there is none."""
    return hub.folder(data, "dataset", "the benchmark's folder as it is published")


def json_file(file: Path) -> Any:
    """What a JSON file holds. Raises InputError where there is none, or it is damaged."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read ({first_line(error)}); get the benchmark again.") from error


def picture(value: Any, where: str) -> Image:
    """The RGB image of a column. Raises InputError where there is none, or it cannot be read."""
    if isinstance(value, Mapping):
        value = value.get("bytes")
    if isinstance(value, bytes):
        return decode(value, where)
    if isinstance(value, Image):
        return open_image(value, where)
    raise InputError(f"{where} has no image; expected an encoded one, so get the row again or remove it.")


def field(row: Mapping[str, Any], key: str, where: str) -> Any:
    """A value inside a row. Raises InputError, naming it, where it is missing."""
    if not isinstance(row, Mapping) or row.get(key) is None:
        raise InputError(f"{where} has no {key!r}; get the row again or remove it.")
    return row[key]


def choice(question: str, options: Mapping[str, Any], right: str, where: str, seed: int | None) -> TableRow:
    """The parts of a sample that asks for the letter of an option.

    Options stand in an order that the seed, the question and they give together; with None as they are. `options` are
    by letter; one that is missing there is left out. Raises InputError where `right` is not among them.
    """
    given = {name: str(text) for name, text in options.items() if text is not None}
    if right not in given:
        raise InputError(f"{where} has the answer {right!r}, which is not among its options {sorted(given)}.")
    order, letter = list(given.values()), right
    if order.count(given[right]) > 1:
        raise InputError(f"{where} has the option {given[right]!r} twice; correct the row.")
    if seed is not None:
        order, letter = shuffled(order, given[right], f"{seed} {question} {order}")
    lines = [question, *(f"{name}: {text}" for name, text in zip(LETTERS, order, strict=False))]
    asked = "\n".join([*lines, LETTER_ALONE])
    return {"question": asked, "answer": letter, "options": tuple(order), "measure": "choice"}


def overlaps(sample: Sample) -> Iterator[Sample]:
    """The question once for each of ROUGE-L F, which keeps the score's name, ROUGE-1 F, ROUGE-2 F and BLEU."""
    stem, ending = sample.score.removesuffix("_text"), "_text" * sample.score.endswith("_text")
    for measure, name in (("ROUGE-L F", ""), ("ROUGE-1 F", "_rouge1"), ("ROUGE-2 F", "_rouge2"), ("BLEU", "_bleu")):
        yield replace(sample, score=f"{stem}{name}{ending}", measure=measure)


def split_of(split: str, splits: Iterable[str], benchmark: str) -> str:
    """The split. Raises InputError for one that does not exist."""
    known = list(splits)
    if split not in known:
        raise unknown(f"split of {benchmark}", split, known)
    return split


def benchmark(
    name: str,
    split: str,
    target: Iterable[Sample],
    retained: Iterable[Sample],
    questions: list[Sample],
    *,
    confidence: str,
    utility: Iterable[str] = (),
    protocol: Protocol = ZERO_SHOT,
) -> Benchmark:
    """The benchmark whose request and whose retained photos are those of these samples.

    Raises InputError where a set holds nobody and nothing, and where somebody is in both.
    """
    sides = photos(target), photos(retained)
    made = Benchmark(name, split, None, None, *sides, questions, [], confidence, tuple(utility), str(protocol))
    for kind, samples in (("target", made.target), ("retained", made.retained), ("question", questions)):
        if not samples:
            raise InputError(f"{name} {split} has an empty {kind} set; get the benchmark again.")
    both = {s.concept for s in made.target} & {s.concept for s in made.retained}
    if both:
        raise InputError(
            f"{sorted(both)[0]!r} is in the target and in the retained set of {name} {split}; "
            "expected each in one, so remove it from the other."
        )
    return made


def photos(samples: Iterable[Sample]) -> list[Sample]:
    """One sample without a question for each image."""
    found = {sample.picture: sample for sample in samples if sample.image is not None}
    return [replace(s, question="", answer="", options=(), score="", measure="accuracy") for s in found.values()]
