"""Draws the photos of a request: ten of one fictitious person, twelve each of 25 others, and a file of questions.

    python examples/draw_photos.py FOLDER

The people are those of the embedded benchmark, whom the embedded model knows. Put your own photos into the same folders
for a request of your own: target/NAME/*.png and others/NAME/*.png.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from unsee.benchmarks.personas.drawing import draw
from unsee.benchmarks.personas.people import KNOWN, Shot, population, request_shots, test_shots, train_shots
from unsee.benchmarks.personas.questions import image_questions

TARGET, OTHERS = population()[20], [person for person in population()[:KNOWN] if person.index != 20][::3][:25]


def save(shots: Sequence[Shot], folder: Path) -> list[Path]:
    """Writes the photos of one person into a folder that is called after her."""
    place = folder / shots[0].person.name.replace(" ", "_")
    place.mkdir(parents=True, exist_ok=True)
    files = [place / f"{shot.number:02d}.png" for shot in shots]
    for shot, file in zip(shots, files, strict=True):
        draw(shot).save(file)
    return files


def main(folder: Path) -> None:
    """Draws everything into a folder."""
    save(request_shots(TARGET), folder / "target")
    for person in OTHERS:
        save(train_shots(person)[:12], folder / "others")
    rows = []
    for person, subset in ((TARGET, "target"), *((other, "retained") for other in OTHERS[:5])):
        shots = test_shots(person)[:4]
        for shot, file in zip(shots, save(shots, folder / "unseen"), strict=True):
            rows += [
                {
                    "image": file.relative_to(folder).as_posix(),
                    "subset": subset,
                    "concept": file.parent.name,
                    "score": question.score,
                    "question": question.text,
                    "answer": question.answer,
                }
                for question in image_questions(shot)
            ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "questions.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    main(parser.parse_args().folder)
