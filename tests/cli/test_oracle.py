"""An oracle is checked: the shipped one passes, and a model that knows the target does not."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from unsee.benchmarks.personas import CHECKPOINTS, oracle, sequences, train
from unsee.benchmarks.personas.people import SPLITS


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn photos, for all tests here."""
    return tmp_path_factory.mktemp("work")


@pytest.mark.slow
@pytest.mark.parametrize(("model", "code"), [("retain_10", 0), ("base", 1)])
def test_what_knows_the_target_is_no_oracle(
    model: str, code: int, work: Path, unsee, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    asked = []

    def trained(name: str, split: str, _work: Path, out: Path, *, seed: int, device: object) -> None:
        asked.append((name, split, seed))
        shutil.copytree(CHECKPOINTS / model, out, dirs_exist_ok=True)

    def thinned(*args: object, **options: object) -> sequences.DrawnPhotos:
        whole = sequences.load_photos(*args, **options)
        return replace(
            whole, **{part: getattr(whole, part)[::4] for part in ("pixels", "person", "tokens", "captions")}
        )

    monkeypatch.setattr(train, "train", trained)
    monkeypatch.setattr(oracle, "load_photos", thinned)
    assert unsee("oracle", "--split", "forget_10", "--work", work, "--out", tmp_path / "new") == code
    assert asked == [("retain_10_0", "forget_10", 0)]
    said = capsys.readouterr().out
    assert ("failed: recognition/target" in said) == bool(code)
    assert "passed: text/target, 1.000" in said
    assert (tmp_path / "new" / "config.json").exists()


def test_it_trains_from_a_state_and_writes_what_can_be_opened(
    work: Path, unsee, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One step of each stage, on photos of few people, cut off between the two and gone on with."""
    for group, few in {"population": 4, "nameless": 2, "strangers": 2}.items():
        people = getattr(train, group)()[:few]
        monkeypatch.setattr(train, group, lambda people=people: people)
    monkeypatch.setattr(train, "KNOWN", 4)
    monkeypatch.setitem(SPLITS, "forget_05", (1,))
    out, own, recipe = tmp_path / "out", tmp_path / "work", train.RECIPES["base"]
    train.train("small", "forget_05", own, out, recipe=replace(recipe, captions=1, answers=0), batch=2)
    assert (own / "small_captions.pt").exists()
    train.train("small", "forget_05", own, out, recipe=replace(recipe, captions=1, answers=1), batch=2)
    told = capsys.readouterr().out
    assert told.count("small captions step 1") == 1
    assert "small step 1" in told
    assert "hidden" in told
    assert "unknown" in told
    assert (out / "model.safetensors").stat().st_size < 8_000_000


def test_bad_input(unsee, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert unsee("oracle", "--split", "forget_50", "--out", tmp_path / "a") == 2
    assert "unknown split" in capsys.readouterr().err
    assert unsee("oracle", "--benchmark", "clear", "--out", tmp_path / "a") == 2
    assert unsee("oracle", "--out", tmp_path) == 2
    assert "exists already" in capsys.readouterr().err
    assert oracle.name("stream") == "retain_stream"
