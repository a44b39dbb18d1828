"""MLUBench: real things to be forgotten in four tasks, one after the other (arXiv 2606.12809)."""

from collections.abc import Iterator
from pathlib import Path

from unsee.benchmarks.benchmark import Benchmark
from unsee.benchmarks.published import benchmark, field, folder_of, json_file, split_of
from unsee.data.rows import image_file
from unsee.errors import InputError
from unsee.records import Sample

SPLITS = {"task_a": "A", "task_b": "B", "task_c": "C", "task_d": "D"}


def load(split: str = "task_a", data: str | None = None) -> Benchmark:
    """One task, in LLaVA's format of conversations; generation: ROUGE-L recall.

    Paths of images are relative to the folder. A thing is named by the folder that its image lies in. Each image is
    also one of the request's (target_seen).

    Raises InputError for an unknown task, without a folder, and for one that is not as it is published.
    """
    task = SPLITS[split_of(split, SPLITS, "mlubench")]
    if data is None:
        raise InputError("mlubench is on no hub; name the folder that holds Tasks/ and the images with --data.")
    folder = folder_of(data)
    place = folder / "Tasks" / f"Task{task}"
    gone = [*_asked(folder, place / f"task{task}_forget.json", "target_seen")]
    kept = [*_asked(folder, place / f"task{task}_retain.json", "retained")]
    return benchmark("mlubench", split, gone, kept, [*gone, *kept], confidence="generation/target_seen")


def _asked(folder: Path, file: Path, subset: str) -> Iterator[Sample]:
    for number, row in enumerate(json_file(file)):
        where = f"{file} row {number}"
        image = image_file(field(row, "image", where), folder, where)
        turns = field(row, "conversations", where)
        for human, model in zip(turns[::2], turns[1::2], strict=False):
            if (field(human, "from", where), field(model, "from", where)) != ("human", "gpt"):
                raise InputError(f"{where} has turns that are not human and gpt in turn; get the file again.")
            question = str(field(human, "value", where)).replace("<image>", "").strip()
            answer = str(field(model, "value", where))
            yield Sample(
                image, image.parent.name, question, answer, score="generation", subset=subset, measure="ROUGE-L recall"
            )
