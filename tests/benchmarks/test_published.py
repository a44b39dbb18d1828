"""Readers of published benchmarks: their exact schemas, end to end with a tiny model, and what they refuse."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from published import FIXTURES, GONE, KEPT, REAL, changed, encoded, mllmu_row, table

from unsee import api, benchmarks
from unsee.benchmarks import published
from unsee.benchmarks.benchmark import Benchmark
from unsee.cli.main import main
from unsee.data import open_image
from unsee.errors import InputError
from unsee.evaluation.evaluate import evaluate
from unsee.methods import NSCVF
from unsee.metrics.measures import LIKELIHOODS, TRUTH_GONE, measured
from unsee.models.checkpoint import load
from unsee.records import from_json
from unsee.reporting import figures
from unsee.testing import images, tiny_checkpoint

GENERATION = ("generation", "generation_rouge1", "generation_rouge2", "generation_bleu")
QUICK = NSCVF(steps=2, views=4, directions=1, composites=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("model"))


def loaded(name: str, folder: Path) -> Benchmark:
    return benchmarks.load(name, str(FIXTURES[name](folder / name)))


def counts(bench: Benchmark) -> Counter[str]:
    return Counter(f"{q.score}/{q.subset}" for q in bench.questions)


SIZES = {"pebench": (1, GONE + KEPT - 1)}
ASKED = [(name, False) for name in FIXTURES] + [(name, True) for name in benchmarks.OFFICIAL]


@pytest.mark.parametrize(("name", "official"), ASKED)
def test_a_benchmark_goes_through_forget_and_evaluate(name: str, official: bool, tmp_path: Path, model: Path) -> None:
    bench = benchmarks.load(name, str(FIXTURES[name](tmp_path / name)), official=official)
    assert (len(bench.target), len(bench.retained)) == SIZES.get(name, (GONE, KEPT))
    edit = api.forget(load(model), bench.target, bench.retained, method=QUICK, ask="never")
    found = evaluate(edit.save(tmp_path / "edited", keep_anyway=True), bench, before=model, oracle=model)
    assert {(f"{s.name}/{s.subset}", s.n) for s in found.scores if s.phase == "after"} >= set(counts(bench).items())
    shares = [score for score in found.scores if score.unit in figures.SHARES]
    assert all(0 <= score.value <= 1 for score in shares)
    others = {score.unit for score in found.scores} - set(figures.SHARES)
    assert others <= {"bits", "nats", "p-value", "1 - divergence", "harmonic mean"}
    plain = [score for score in shares if f"{score.name}/{score.subset}" in counts(bench)]
    fallen = {f"{score.name}/{score.subset}" for score in plain if not score.higher_is_better}
    seen = {f"{q.score}/{q.subset}" for q in bench.questions if q.subset.startswith("target") and q.image is not None}
    truths = {f"{q.score}/{q.subset}" for q in bench.questions if q.measure == TRUTH_GONE}
    assert fallen == seen - truths, "what is asked without an image is meant to stay"
    assert bench.confidence in counts(bench)
    assert {score.subset for score in found.scores if score.name == "forget_quality"} == {"ks_p", "one_minus_js"}
    assert not bench.utility or [s.name for s in found.scores if s.phase == "after"].count("utility") == 1
    assert all(check.passed for check in found.checks)


@pytest.mark.parametrize("name", FIXTURES)
def test_right_answers_are_worth_one_and_others_less(name: str, tmp_path: Path) -> None:
    for question in loaded(name, tmp_path).questions:
        if question.measure in LIKELIHOODS or question.measure in ("BLEU", "ROUGE-2 F"):
            continue  # no answer, or the right one is too short
        said = ", ".join(question.options) if question.measure == "keywords" else question.answer
        assert measured(said, question) == 1
        assert measured("none of them", question) < 1


def test_mllmu_asks_about_other_pictures_of_the_forgotten_alone(tmp_path: Path) -> None:
    bench = loaded("mllmu", tmp_path)
    people = {"target_seen": GONE, "target": GONE, "retained": KEPT, "real": REAL}
    expected = {
        f"{score}{ending}/{subset}": number
        for score in ("classification", "cloze", *GENERATION)
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
    assert len({q.options for q in choices}) > 2, "questions are not all shuffled in the same way"
    for question in choices:
        right = question.options["ABCD".index(question.answer)]
        assert f"\n{question.answer}: {right}\n" in question.question
        assert right == ["red", "green", "blue", "grey"][int(question.concept) % 4]


def test_umu_asks_every_fact_with_and_without_an_image(tmp_path: Path) -> None:
    found = counts(loaded("umu", tmp_path))
    assert found == {
        f"{score}{ending}/{subset}": number
        for score in ("classification", "cloze", *GENERATION)
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


@pytest.mark.parametrize(("name", "configs"), [("mllmu", 4), ("clear", 8), ("umu", 3)])
def test_what_the_hub_streams_is_read_as_a_folder_is(
    name: str, configs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` streams a folder with a hub's README as it does a hub's repository."""
    folder = FIXTURES[name](tmp_path / name)
    plain = benchmarks.load(name, str(folder))
    found = sorted(place.name for place in folder.iterdir() if place.is_dir())
    listed = "".join(f"- config_name: {c}\n  data_files: {c}/train-*.parquet\n" for c in found)
    (folder / "README.md").write_text(f"---\nconfigs:\n{listed}---\n", encoding="utf-8")
    assert len(found) == configs
    monkeypatch.setattr(published, "_local", lambda folder, config: published._hub(str(folder), config))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    streamed = benchmarks.load(name, str(folder))
    for one, other in zip(plain.questions, streamed.questions, strict=True):
        assert replace(one, image=None) == replace(other, image=None)
        assert (one.image is None) == (other.image is None)
        assert one.image is None or open_image(one).tobytes() == open_image(other).tobytes()


def test_pebench_asks_about_other_pictures_of_people_named_by_their_folders(tmp_path: Path) -> None:
    bench = loaded("pebench", tmp_path)
    assert counts(bench) == {"recognition/target_seen": 1, "recognition/target": 1, "recognition/retained": 9}
    shown = {s.image for s in (*bench.target, *bench.retained)}
    assert shown.isdisjoint(q.image for q in bench.questions if q.subset != "target_seen")
    assert all(q.answer == q.concept and q.concept.startswith("Person ") for q in bench.questions)
    (tmp_path / "pebench" / "Person 3" / "1.png").unlink()
    with pytest.raises(InputError, match="one picture of Person 3"):
        benchmarks.load("pebench", str(tmp_path / "pebench"))


def test_a_folder_that_is_named_like_a_benchmark_does_not_stand_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    FIXTURES["umu"](tmp_path / "umu")
    monkeypatch.chdir(tmp_path)
    assert benchmarks.load("umu", "umu").name == "umu"


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
    quick = ["--steps", "2", "--views", "4", "--directions", "1", "--composites", "0", "--ask", "never"]
    main([*forget, *common, "--split", "forget_05", *quick, "--keep-anyway"])
    assert main(["evaluate", "--model", str(edited), "--out", str(scores), *common, "--before", str(model)]) == 0
    result = from_json((scores / "result.json").read_text(encoding="utf-8"))
    assert result.value("classification", "target", "after") is not None
    assert result.data["benchmark"] == "mllmu"
    official = [*common, "--protocol", "official", "--bugs", "all", "--judge", str(model), "--json"]
    capsys.readouterr()
    assert main(["evaluate", "--model", str(edited), "--out", str(tmp_path / "official"), *official]) == 0
    result = from_json(capsys.readouterr().out)
    assert result.data["protocol"] == "official with first_character, tested_shots, unseeded"
    assert [check.name for check in result.checks] == ["judge_readable"]
    assert not result.checks[0].passed, "a model without training grades with nonsense"
    for more, sentence in ((["--bugs", "all"], "add --protocol official"), (["--judge", "nowhere"], "is no folder")):
        assert main(["evaluate", "--model", str(edited), "--out", str(tmp_path / "x"), *common, *more]) == 2
        assert sentence in capsys.readouterr().err
        assert not (tmp_path / "x").exists()
    for more, sentence in (
        (["--target", str(folder), *common], "brings its photos along"),
        (["--split", "forget_05"], "belong to a benchmark"),
        ([], "there is no target"),
    ):
        assert main([*forget[:-1], str(tmp_path / "x"), *more]) == 2
        assert sentence in capsys.readouterr().err
