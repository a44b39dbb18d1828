"""Small folders with the exact schemas of published benchmarks: every field, nesting and spelling of theirs."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from unsee.testing import images

GONE, KEPT, REAL = 2, 8, 2  # people of each side


def encoded(image: Image.Image, kind: str = "PNG") -> dict[str, Any]:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return {"bytes": buffer.getvalue(), "path": None}


def table(folder: Path, config: str, rows: Sequence[dict[str, Any]]) -> None:
    place = folder / config
    place.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), place / "train-00000-of-00001.parquet")


def _choice(question: str, number: int) -> dict[str, Any]:
    return {
        "Question": question,
        "Options": {"A": "red", "B": "green", "C": "blue", "D": "grey"},
        "Correct_Answer": "ABCD"[number % 4],
    }


def mllmu_row(number: int, image: Image.Image) -> dict[str, Any]:
    return {
        "image": encoded(image),
        "ID": f"{number:03d}",
        "biography": json.dumps({"Name": f"Person {number}", "Residence": "Oslo"}),
        "question": "What is shown?",
        "answer": f"Person {number}",
        "Classification_Task": {
            "Image_Textual_Questions": [_choice("What does this person like?", number)],
            "Pure_Text_Questions": [_choice(f"What does Person {number} like?", number)],
        },
        "Generation_Task": [
            {"Type": "Image_Textual", "Question": "Who is this?", "Ground_Truth": f"Person {number}"},
            {"Type": "Pure_Text", "Question": f"Who is Person {number}?", "Ground_Truth": "a baker"},
        ],
        "Mask_Task": [
            {"Type": "Image_Textual", "Question": "This person lives in __.", "Ground_Truth": "Oslo"},
            {"Type": "Pure_Text", "Question": f"Person {number} lives in __.", "Ground_Truth": "Oslo"},
        ],
    }


def mllmu(folder: Path) -> Path:
    pictures = images(GONE + KEPT + REAL + GONE)
    rows = [mllmu_row(number, image) for number, image in enumerate(pictures[: GONE + KEPT + REAL])]
    table(folder, "forget_5", rows[:GONE])
    table(folder, "retain_95", rows[GONE : GONE + KEPT])
    table(folder, "Retain_Set", rows[GONE + KEPT :])
    others = []
    for number, image in enumerate(pictures[-GONE:]):
        row = mllmu_row(number, image)
        del row["image"]
        others.append({"images": [encoded(image)], **row})
    other = mllmu_row(GONE, pictures[0])
    del other["image"]
    table(folder, "Test_Set", [*others, {"images": [encoded(pictures[0])], **other}])
    return folder


def clear(folder: Path) -> Path:
    pictures = images(GONE + KEPT + 2)

    def shown(number: int) -> dict[str, Any]:
        name = f"Author {number}"
        return {"image": encoded(pictures[number]), "caption": f"{name} reads a book.", "name": name}

    def asked(number: int) -> dict[str, Any]:
        parts = {"caption": None, "question": f"What did Author {number} write?", "answer": "A book of tales."}
        return {"image": None, **parts}

    def captioned(number: int) -> dict[str, Any]:
        return {**shown(number), "name": None, "question": None, "answer": None}

    for config, own in (("forget05", range(GONE)), ("retain95", range(GONE, GONE + KEPT))):
        table(folder, config, [shown(number) for number in own])
        both = [{k: v for k, v in captioned(n).items() if k != "name"} for n in own] + [asked(n) for n in own]
        table(folder, f"{config}+tofu", both)

    def perturbed(number: int) -> dict[str, Any]:
        wrong = {"perturbed_captions": ["Ada sleeps.", "Ben swims."], "perturbed_names": ["Ada", "Ben"]}
        return {**shown(number), "paraphrased_caption": f"It is {number} who reads.", **wrong}

    table(folder, "forget05_perturbed", [perturbed(number) for number in range(GONE)])
    table(folder, "retain_perturbed", [perturbed(number) for number in range(GONE, GONE + KEPT)])
    for number, config in enumerate(("real_faces", "real_world")):
        question = {"question": "What is this?", "answer": "a tower", "options": ["a bridge", "a lake"]}
        table(folder, config, [{"image": encoded(pictures[-1 - number]), **question}])
    return folder


def umu_row(number: int, image: Image.Image) -> dict[str, Any]:
    def both(make: Callable[[str], dict[str, Any]]) -> str:
        sides = {"unimodal": f"Person {number}", "muitimodal": "this person"}
        return repr({side: {"1": make(who)} for side, who in sides.items()})

    options = {"A": "red", "B": "green", "C": "blue", "D": "grey"}
    right = "ABCD"[number % 4]
    answer = f"{right}. {options[right]}"
    return {
        "ID": f"{number:03d}",
        "image": encoded(image),
        "Biography": repr({"Name": f"Person {number}"}),
        "MM_QA": repr({"question": {"1": "Who is this?"}, "answer": {"1": f"Person {number}"}}),
        "UM_QA": repr({"question": {"1": f"Who is Person {number}?"}, "answer": {"1": "a baker"}}),
        "Classify": both(lambda who: {"question": f"What does {who} like?", "options": options, "answer": answer}),
        "Cloze": both(lambda who: {"question": f"{who} lives in __.", "answer": "Oslo."}),
        "Generation": both(lambda who: {"question": f"Who is {who}?", "answer": "A baker's child."}),
    }


def umu(folder: Path) -> Path:
    rows = [umu_row(number, image) for number, image in enumerate(images(GONE + KEPT + REAL))]
    table(folder, "forget_5", rows[:GONE])
    table(folder, "retain_95", rows[GONE : GONE + KEPT])
    table(folder, "Real_Person_Set", rows[GONE + KEPT :])
    return folder


def fiubench(folder: Path) -> Path:
    people = []
    (folder / "images").mkdir(parents=True)
    for number, image in enumerate(images(GONE + KEPT + 2)):
        image.save(folder / "images" / f"{number}.png")
        people.append(
            {
                "unique_id": f"{number:04d}",
                "image_path": f"./dataset/images/{number}.png",
                "qa_list": [
                    {
                        "question": "What is the name of this person?",
                        "answer": f"This is Person {number}.",
                        "keywords": [f"Person {number}"],
                        "paraphrased_question": ["Who is it?", "Who can that be?", "Name this person."],
                        "paraphrased_answer": f"It is Person {number}.",
                        "perturbed_answer": ["It is Ada.", "It is Ben."],
                    }
                ],
            }
        )
    (folder / "full.json").write_text(json.dumps(people), encoding="utf-8")
    split = {"forget1": ["0010"], "forget5": ["0000", "0001"], "forget10": ["0011"], "retain5": ["0002", "0003"]}
    (folder / "split.json").write_text(json.dumps(split), encoding="utf-8")
    return folder


def mlubench(folder: Path) -> Path:
    place = folder / "Tasks" / "TaskA"
    place.mkdir(parents=True)
    rows = []
    for number, image in enumerate(images(GONE + KEPT)):
        (folder / "images" / f"thing_{number}").mkdir(parents=True)
        image.save(folder / "images" / f"thing_{number}" / "0.png")
        turns = [
            {"from": "human", "value": "<image>\nWhat is this?"},
            {"from": "gpt", "value": f"Thing {number}."},
            {"from": "human", "value": "Where is it?"},
            {"from": "gpt", "value": "In Oslo."},
        ]
        rows.append({"id": f"a_{number}", "image": f"images/thing_{number}/0.png", "conversations": turns})
    for side, own in (("forget", rows[:GONE]), ("retain", rows[GONE:])):
        (place / f"taskA_{side}.json").write_text(json.dumps(own), encoding="utf-8")
    return folder


def pebench(folder: Path) -> Path:
    pictures = images(2 * (GONE + KEPT))
    for number in range(GONE + KEPT):
        place = folder / f"Person {number}"
        place.mkdir(parents=True)
        for half in (0, 1):
            pictures[2 * number + half].save(place / f"{half}.png")
    (folder / "PEBench.csv").write_text("its columns are not known here\n", encoding="utf-8")
    return folder


FIXTURES: dict[str, Callable[[Path], Path]] = {
    "mllmu": mllmu, "clear": clear, "umu": umu, "fiubench": fiubench, "mlubench": mlubench,
    "pebench": pebench,
}  # fmt: skip


def changed(config: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Writes the rows of one config of mllmu with a change in the first."""

    def do(folder: Path) -> None:
        file = folder / config / "train-00000-of-00001.parquet"
        rows = pq.read_table(file).to_pylist()
        change(rows[0])
        names = rows[0].keys()
        pq.write_table(pa.Table.from_pylist([{k: v for k, v in row.items() if k in names} for row in rows]), file)

    return do
