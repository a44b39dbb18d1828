"""`unsee attack` as a user types it."""

import json
import shutil
from pathlib import Path

import pytest

import unsee
from unsee.benchmarks.personas import CHECKPOINTS
from unsee.cli.main import main
from unsee.errors import InputError
from unsee.models.checkpoint import load, write
from unsee.records import from_json
from unsee.testing import images, tiny_checkpoint


def test_a_model_that_forgot_nothing_is_attacked_beside_the_oracle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "attacked"
    common = ["--benchmark", "personas/forget_10", "--photos", "1", "--attacks", "perturb,probe"]
    assert main(["attack", "--model", str(CHECKPOINTS / "base"), "--out", str(out), *common]) == 0
    said = capsys.readouterr().out
    assert "probe: features, linear" in said
    result = from_json((out / "result.json").read_text(encoding="utf-8"))
    plain = {(s.name, s.subset, s.phase): s.value for s in result.scores}
    for name, budget, phase in plain:
        if name == "recovery.probe":
            own, control = plain[name, budget, phase], plain["control.probe", budget, "oracle"]
            assert plain["excess.probe", budget, "after"] == pytest.approx(own - control)
            assert plain["attacked.probe", budget, "after"] == plain["attacked.probe", budget, "before"]
    assert plain["recovery.perturb", "flip", "after"] < 0.1, "what it says without an attack is no recovery"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Attacks" in page
    assert "control: the same attack on the oracle" in page


def test_required_is_that_nothing_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vlm = load(CHECKPOINTS / "base")
    changed = {
        name: -vlm.model.get_parameter(name).detach().to(vlm.dtype_of(name))
        for name in vlm.partition.visual
        if "projector" in name
    }
    edited = tmp_path / "edited"
    edited.mkdir()
    write(vlm, changed, edited)
    asked = ["attack", "--model", str(edited), "--benchmark", "personas/forget_10", "--photos", "1"]
    only = ["--attacks", "projector_reload", "--out", str(tmp_path / "attacked")]
    assert main([*asked, *only]) == 0
    assert main([*asked, *only, "--overwrite", "--require"]) == 1
    page = (tmp_path / "attacked" / "report.html").read_text(encoding="utf-8")
    assert '<dt>Attacks</dt><dd class="bad">failed</dd>' in page
    assert "1 of 1 attempts bring back more" in page
    assert "language_model_unchanged" in capsys.readouterr().out


def test_in_python_as_on_the_command_line(tmp_path: Path) -> None:
    asked = ["attack", "--model", str(CHECKPOINTS / "base"), "--benchmark", "personas/forget_10", "--photos", "1"]
    assert main([*asked, "--attacks", "perturb", "--out", str(tmp_path / "out")]) == 0
    typed = from_json((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    called = unsee.attack(CHECKPOINTS / "base", benchmark="personas/forget_10", photos=1, attacks=["perturb"])
    assert called.scores == typed.scores
    assert called.checks == typed.checks
    assert called.state == typed.state == "failed", "nothing was forgotten"
    for wrong in ({"attacks": ["hypnosis"]}, {"attacks": "perturb"}, {"benchmark": None}):
        given = {"benchmark": "personas/forget_10", "attacks": ["perturb"], **wrong}
        with pytest.raises(InputError):
            unsee.attack(CHECKPOINTS / "base", **given)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--attacks", "relearn,hypnosis"], "unknown attack 'hypnosis'"),
        (["--photos", "0"], "photos"),
        (["--benchmark", "personas/forget_99"], "split of personas"),
        (["--model", "nowhere", "--benchmark", "personas"], "nowhere is not a folder"),
        (["--benchmark", "personas", "--oracle", "nowhere"], "nowhere is not a folder"),
        ([], "there is nothing to ask; give --benchmark NAME, photos with --target, or --questions FILE."),
        (["--benchmark", "personas", "--target", "photos"], "brings its questions along"),
    ],
)
def test_what_cannot_be_attacked_is_refused(
    more: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["attack", "--model", str(CHECKPOINTS / "base"), "--out", str(tmp_path / "x"), *more]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_record_that_is_damaged_is_named_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model"
    shutil.copytree(CHECKPOINTS / "base", model)
    (model / "unsee.json").write_text("{", encoding="utf-8")
    asked = ["--benchmark", "personas", "--out", str(tmp_path / "x")]
    assert main(["attack", "--model", str(model), *asked]) == 2
    assert "unsee.json is not as unsee writes it" in capsys.readouterr().err


def test_a_benchmark_without_a_model_needs_the_one_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_checkpoint(tmp_path / "model")
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"image": "a.png", "question": "Who?", "answer": "Ada"}) + "\n", encoding="utf-8")
    images(1)[0].save(tmp_path / "a.png")
    asked = ["attack", "--model", str(model), "--benchmark", str(questions), "--out", str(tmp_path / "x")]
    assert main(asked) == 2
    assert "name the checkpoint before the request with --before" in capsys.readouterr().err
    assert main([*asked, "--before", str(model)]) == 2
    assert "asks nothing about photos of the target" in capsys.readouterr().err
