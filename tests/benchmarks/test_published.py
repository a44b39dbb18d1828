"""Readers of published benchmarks: their exact schemas, end to end with a tiny model, and what they refuse."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from published import FIXTURES, GONE, KEPT, REAL, encoded, mllmu_row, table

from unsee import api, benchmarks
from unsee.benchmarks.benchmark import Benchmark
from unsee.cli.main import main
from unsee.data import open_image
from unsee.errors import InputError
from unsee.evaluation import evaluate
from unsee.methods import NSCVF
from unsee.metrics.measures import measured
from unsee.models.checkpoint import load
from unsee.records import from_json
from unsee.reporting import figures
from unsee.testing import images, tiny_checkpoint

QUICK = NSCVF(steps=2, views=4, directions=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("model"))


def loaded(name: str, folder: Path) -> Benchmark:
    return benchmarks.load(name, str(FIXTURES[name](folder / name)))


def counts(bench: Benchmark) -> Counter[str]:
    return Counter(f"{q.score}/{q.subset}" for q in bench.questions)


@pytest.mark.parametrize("name", FIXTURES)
def test_a_benchmark_goes_through_forget_and_evaluate(name: str, tmp_path: Path, model: Path) -> None:
    bench = loaded(name, tmp_path)
    assert (len(bench.target), len(bench.retained)) == (GONE, KEPT)
    edit = api.forget(load(model), bench.target, bench.retained, method=QUICK)
    found = evaluate(edit.save(tmp_path / "edited"), bench, before=model)
    assert {(f"{s.name}/{s.subset}", s.n) for s in found.scores if s.phase == "after"} == set(counts(bench).items())
    assert all(0 <= score.value <= 1 and score.unit in figures.SHARES for score in found.scores)
    fallen = {f"{score.name}/{score.subset}" for score in found.scores if not score.higher_is_better}
    seen = {f"{q.score}/{q.subset}" for q in bench.questions if q.subset.startswith("target") and q.image is not None}
    assert fallen == seen, "what is asked without an image is meant to stay"
    assert all(check.passed for check in found.checks)


@pytest.mark.parametrize("name", FIXTURES)
def test_right_answers_are_worth_one_and_others_less(name: str, tmp_path: Path) -> None:
    for question in loaded(name, tmp_path).questions:
        said = ", ".join(question.options) if question.measure == "keywords" else question.answer
        assert measured(said, question) == 1
        assert measured("none of them", question) < 1


def test_mllmu_asks_about_other_pictures_of_the_forgotten_alone(tmp_path: Path) -> None:
    bench = loaded("mllmu", tmp_path)
    people = {"target_seen": GONE, "target": GONE, "retained": KEPT, "real": REAL}
    expected = {
        f"{score}{ending}/{subset}": number
        for score in ("classification", "generation", "cloze")
        for ending in ("", "_text")
        for subset, number in people.items()
    }
    assert counts(bench) == expected
    assert {q.concept for q in bench.questions if q.subset == "target"} == {s.concept for s in bench.target}
    shown = {open_image(s).tobytes() for s in bench.target}
    asked = [q for q in bench.questions if q.subset == "target" and q.image is not None]
    assert shown.isdisjoint(open_image(q).tobytes() for q in asked)
    assert all((q.image is None) == q.score.endswith("_text") for q in bench.questions)
    assert any("This person lives in [Blank]." in q.question for q in asked)


def test_options_are_shuffled_by_the_seed_and_the_letter_goes_with_them(tmp_path: Path) -> None:
    choices = [q for q in loaded("mllmu", tmp_path).questions if q.measure == "choice"]
    assert len({q.options for q in choices}) > 1 or len({q.answer for q in choices}) > 1
    for question in choices:
        right = question.options["ABCD".index(question.answer)]
        assert f"\n{question.answer}: {right}\n" in question.question
        assert right == ["red", "green", "blue", "grey"][int(question.concept) % 4]


def test_umu_asks_every_fact_with_and_without_an_image(tmp_path: Path) -> None:
    found = counts(loaded("umu", tmp_path))
    assert found == {
        f"{score}{ending}/{subset}": number
        for score in ("classification", "cloze", "generation")
        for ending in ("", "_text")
        for subset, number in (("target_seen", GONE), ("retained", KEPT), ("real", REAL))
    }


def test_fiubench_has_keywords_and_three_other_wordings(tmp_path: Path) -> None:
    found = counts(loaded("fiubench", tmp_path))
    assert found["paraphrase/target_seen"] == 3 * found["keywords/target_seen"] == 3 * GONE
    assert found["generation/retained"] == KEPT


def test_clear_asks_in_writing_about_rows_without_an_image(tmp_path: Path) -> None:
    found = counts(loaded("clear", tmp_path))
    assert (found["text/target"], found["text/retained"]) == (GONE, KEPT)
    assert (found["faces/real"], found["world/real"]) == (1, 1)


def changed(config: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Writes the rows of one config of mllmu with a change in the first."""

    def do(folder: Path) -> None:
        file = folder / config / "train-00000-of-00001.parquet"
        rows = pq.read_table(file).to_pylist()
        change(rows[0])
        names = rows[0].keys()
        pq.write_table(pa.Table.from_pylist([{k: v for k, v in row.items() if k in names} for row in rows]), file)

    return do


BAD = {
    "forget_5 row 0 has no column 'Mask_Task'": changed("forget_5", lambda row: row.pop("Mask_Task")),
    "row 0 has no image": changed("forget_5", lambda row: row.update(image=None)),
    "cannot be read as an image": changed("forget_5", lambda row: row["image"].update(bytes=b"no image")),
    "answer 'F', which is not among its options": changed(
        "forget_5",
        lambda row: row["Classification_Task"]["Image_Textual_Questions"][0].update(Correct_Answer="F"),
    ),
    "task of the type 'Audio'": changed("forget_5", lambda row: row["Mask_Task"][0].update(Type="Audio")),
    "'002' is in the target and in the retained set": changed("forget_5", lambda row: row.update(ID="002")),
    "Test_Set holds nobody of forget_5": lambda folder: table(
        folder, "Test_Set", [{"images": [encoded(images(1)[0])], **mllmu_row(77, images(1)[0])}]
    ),
    r"has no retain_95/\*.parquet": lambda folder: (folder / "retain_95" / "train-00000-of-00001.parquet").unlink(),
    "cannot be read": lambda folder: (folder / "forget_5" / "train-00000-of-00001.parquet").write_bytes(b"PAR1"),
    "forget_5 holds no row": lambda folder: pq.write_table(
        pq.read_table(folder / "forget_5" / "train-00000-of-00001.parquet").slice(0, 0),
        folder / "forget_5" / "train-00000-of-00001.parquet",
    ),
}


@pytest.mark.parametrize("sentence", BAD)
def test_what_is_not_as_published_is_refused_by_name(sentence: str, tmp_path: Path) -> None:
    folder = FIXTURES["mllmu"](tmp_path / "mllmu")
    BAD[sentence](folder)
    with pytest.raises(InputError, match=sentence):
        benchmarks.load("mllmu", str(folder))


def test_literals_and_files_that_are_damaged_are_refused_by_name(tmp_path: Path) -> None:
    folder = FIXTURES["umu"](tmp_path / "umu")
    changed("forget_5", lambda row: row.update(Cloze="{'unimodal': __import__('os')}"))(folder)
    with pytest.raises(InputError, match=r"forget_5 row 0 has a 'Cloze' that is no Python literal"):
        benchmarks.load("umu", str(folder))
    folder = FIXTURES["fiubench"](tmp_path / "fiubench")
    (folder / "split.json").write_text(json.dumps({"forget5": ["9999"]}), encoding="utf-8")
    with pytest.raises(InputError, match=r"names 9999 in forget5, whom full.json does not hold"):
        benchmarks.load("fiubench", str(folder))
    (folder / "split.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"split.json cannot be read"):
        benchmarks.load("fiubench", str(folder))
    with pytest.raises(InputError, match="is on no hub"):
        benchmarks.load("mlubench")
    with pytest.raises(InputError, match="takes no data"):
        benchmarks.load("personas", str(tmp_path))
    for name in FIXTURES:
        with pytest.raises(InputError, match=f"split of {name}"):
            benchmarks.load(f"{name}/forget_99", str(tmp_path))


@pytest.mark.parametrize("mode", ["CMYK", "P", "I;16", "animated", "turned"])
def test_images_of_any_kind_are_upright_rgb(mode: str, tmp_path: Path) -> None:
    folder = FIXTURES["mllmu"](tmp_path / "mllmu")
    first, second = images(2, size=24)
    wide = first.resize((32, 16))
    if mode == "CMYK":
        data = encoded(wide.convert("CMYK"), "TIFF")
    elif mode == "animated":
        file = tmp_path / "moving.gif"
        wide.save(file, save_all=True, append_images=[second.resize((32, 16))])
        data = {"bytes": file.read_bytes(), "path": None}
    elif mode == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        file = tmp_path / "turned.jpg"
        wide.save(file, exif=exif)
        data = {"bytes": file.read_bytes(), "path": None}
    else:
        data = encoded(wide.convert("L").convert("I").convert("I;16") if mode == "I;16" else wide.convert("P"))
    changed("forget_5", lambda row: row.update(image=data))(folder)
    image = benchmarks.load("mllmu", str(folder)).target[0].image
    assert isinstance(image, Image.Image)
    assert image.mode == "RGB"
    assert image.size == ((16, 32) if mode == "turned" else (32, 16))


def test_the_commands_take_a_benchmark_and_its_folder(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = FIXTURES["mllmu"](tmp_path / "mllmu")
    edited, scores = tmp_path / "edited", tmp_path / "scores"
    common = ["--benchmark", "mllmu", "--data", str(folder)]
    forget = ["forget", "nscvf", "--model", str(model), "--out", str(edited)]
    quick = ["--steps", "2", "--views", "4", "--directions", "1"]
    code = main([*forget, *common, "--split", "forget_05", *quick])
    assert code == 0, capsys.readouterr().err
    assert main(["evaluate", "--model", str(edited), "--out", str(scores), *common, "--before", str(model)]) == 0
    result = from_json((scores / "result.json").read_text(encoding="utf-8"))
    assert result.value("classification", "target", "after") is not None
    assert result.data["benchmark"] == "mllmu"
    capsys.readouterr()
    for more, sentence in (
        (["--target", str(folder), *common], "brings its photos along"),
        (["--split", "forget_05"], "belong to a benchmark"),
        ([], "there is no target"),
    ):
        assert main([*forget[:-1], str(tmp_path / "x"), *more]) == 2
        assert sentence in capsys.readouterr().err
