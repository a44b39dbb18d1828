"""Bad arguments: exit 2, a message that suggests what was meant, and nothing written; help: exit 0."""

import dataclasses
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from unsee.benchmarks import BENCHMARKS
from unsee.cli import forget
from unsee.cli.ls import THINGS
from unsee.cli.main import COMMANDS
from unsee.cli.parse import parse
from unsee.methods import METHODS, NSCVF
from unsee.methods.nscvf import PRESETS

Run = Callable[..., int]


@pytest.mark.parametrize(
    ("args", "meant"),
    [
        (["froget"], "did you mean 'forget'?"),
        (["forget", "nscv"], "did you mean 'nscvf'?"),
        (["forget", "nscvf", "--model", "m", "--target", "t", "--out", "o", "--stpes", "3"], "--steps"),
        (["ls", "methods", "--jsno"], "--json"),
        (["ls", "metods"], "'methods'"),
        (["forget", "nscvf", "--out", "o"], "--model"),
        (["evaluate", "--model", "m", "--out", "o", "--benchmark", "persona"], "did you mean 'personas'?"),
        (["evaluate", "--model", "m", "--out", "o", "--benchmark", "personas/forgot_10"], "did you mean 'forget_10'?"),
    ],
)
def test_a_misspelt_word(
    args: list[str],
    meant: str,
    unsee: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert unsee(*args) == 2
    said = capsys.readouterr()
    assert meant in said.err
    assert "Traceback" not in said.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--steps", "0", "1 or more"),
        ("--steps", "many", "many"),
        ("--batch", "0", "1 or more"),
        ("--views", "-1", "0 or more"),
        ("--rate", "0", "above 0"),
        ("--rate", "nan", "above 0"),
        ("--temperature", "0", "above 0"),
        ("--reach", "-1", "above 0"),
        ("--keep", "1.5", "keep is 1.5"),
        ("--region", "nearst", "did you mean 'nearest'?"),
        ("--criterion", "sofd", "did you mean 'soft'?"),
    ],
)
def test_a_setting_out_of_range(
    option: str, value: str, expected: str, unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--model", tmp_path, "--target", tmp_path, "--retain", tmp_path, "--out", tmp_path / "out"]
    assert unsee("forget", "nscvf", *given, option, value) == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert expected in said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str, unsee: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert unsee(command, "--help") == 0
    assert f"unsee {command} " in capsys.readouterr().out.partition("Example:")[2]


def test_what_is_listed_is_what_there_is() -> None:
    assert [name for name, _ in THINGS["methods"]] == list(METHODS)
    assert [name for name, _ in THINGS["benchmarks"]] == list(BENCHMARKS)


def test_report_refuses_what_is_no_result(unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "result.json", tmp_path / "report.html"
    assert unsee("report", file, "--out", out) == 2
    file.write_text("{")
    assert unsee("report", file, "--out", out) == 2
    assert capsys.readouterr().err.count("result.json") >= 2
    assert not out.exists()


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_has_its_settings_in_both_commands_that_take_them(
    name: str, unsee: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (("forget", name), ("session", "init", "--method", name)):
        assert unsee(*command, "--help-all") == 0
        said = capsys.readouterr().out
        for setting in dataclasses.fields(METHODS[name]):
            flag = setting.name.replace("_", "-")
            assert f"--{flag}" in said or f"--no-{flag}" in said


@pytest.mark.parametrize("command", ["forget", "evaluate", "attack", "demo", "session forget", "session init"])
def test_help_shows_a_dozen_options_at_most_and_help_all_the_rest(
    command: str, unsee: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unsee(*command.split(), "--help") == 0
    said = capsys.readouterr().out
    brief = re.findall(r"^ *(--[a-z-]+)", said, flags=re.MULTILINE)
    assert 3 < len(brief) <= 12
    assert "\nWhat is written\n" in said or command == "session init"
    assert "None" not in said
    assert unsee(*command.split(), "--help-all") == 0
    every = re.findall(r"[│ ] *(--[a-z-]+)", capsys.readouterr().out)
    assert set(brief) < set(every)


def test_options_may_stand_in_a_file(unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is typed counts more, and what is no option is refused as if it were typed."""
    file = tmp_path / "request.toml"
    file.write_text('model = "nowhere"\ntarget = "photos"\n[method]\nsteps = 5\nretain = "others"\n', encoding="utf-8")
    assert unsee("forget", "--config", file, "--out", tmp_path / "out", "--model", "elsewhere") == 2
    assert "elsewhere is not a folder" in capsys.readouterr().err
    file.write_text("stepz = 5\n", encoding="utf-8")
    assert unsee("forget", "--config", file) == 2
    file.write_text("steps = ", encoding="utf-8")
    assert unsee("forget", f"--config={file}") == 2
    assert "cannot be read as TOML" in capsys.readouterr().err


def test_a_file_turns_off_what_is_on_by_itself(
    unsee: Run, checkpoint: Path, retained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of every command, with what is common to all, and a name that is none is refused whatever its value is."""
    file, given = tmp_path / "a.toml", ("--model", checkpoint, "--retain", retained, "--ask", "never")
    file.write_text(f'null_space = false\nquiet = true\nlog_file = "{tmp_path}/log"\nmethod = "nscvf"\n', "utf-8")
    assert unsee("session", "init", tmp_path / "session", "--config", file, *given) == 0
    assert tomllib.loads((tmp_path / "session" / "session.toml").read_text("utf-8"))["method"]["null_space"] is False
    assert capsys.readouterr().err == ""
    assert (tmp_path / "log").exists()
    file.write_text("stepz = false\n", encoding="utf-8")
    assert unsee("session", "init", tmp_path / "other", "--config", file, *given) == 2
    assert "sets stepz, which is no option" in capsys.readouterr().err
    file.write_text("seed = false\n", encoding="utf-8")
    assert unsee("session", "init", tmp_path / "other", "--config", file, *given) == 2
    assert "sets seed to false, which is no switch; expected INT" in capsys.readouterr().err


def test_settings_that_are_given_count_more_than_a_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though they are what they would be without it."""
    words = ["--preset", "resistant", "--harden", "0", "--model", "m", "--out", "o"]
    options = forget._preset(parse(forget.Options[NSCVF], words, "unsee forget"), words)
    assert options.method.harden == 0.0
    assert options.method.resist == PRESETS["resistant"]["resist"]
    words = ["--preset", "fast", "--model", "m", "--out", "steps"]  # a value is no option
    options = forget._preset(parse(forget.Options[NSCVF], words, "unsee forget"), words)
    assert options.method.steps == PRESETS["fast"]["steps"]


@pytest.mark.parametrize("command", ["moments", "bench", "session init", "session settle", "oracle"])
def test_prose_of_help_fits_the_terminal(
    command: str, unsee: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the commands of examples, which are copied whole."""
    monkeypatch.setenv("COLUMNS", "60")
    assert unsee(*command.split(), "--help") == 0
    said = capsys.readouterr().out
    assert all(len(line) <= 60 or line.startswith("  unsee ") for line in said.splitlines())
    assert "None" not in said


def test_what_is_told_is_kept_in_a_log_and_nothing_shown_where_that_is_asked_for(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    given = ("--model", checkpoint, "--target", target, "--retain", retained, "--steps", 2, "--keep-anyway")
    assert unsee("forget", *given, "--quiet", "--log-file", log, "--out", tmp_path / "out") == 1
    assert "forgetting" not in capsys.readouterr().err
    kept = log.read_text(encoding="utf-8")
    assert "INFO forgetting 2/2" in kept
    assert "WARNING the model does not seem to know" in kept
    assert "INFO failed: Forgotten." in kept
    assert unsee("forget", *given, "--ask", "never", "--out", tmp_path / "again") == 1
    said = capsys.readouterr().err
    assert "forgetting 2/2" in said  # the next command is not quiet
    assert re.match(r"\d\d:\d\d:\d\d starting\n", said)  # before anything else, while torch is imported
    assert unsee("inspect", "--model", checkpoint, "--log-file", tmp_path / "no" / "log") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert unsee("inspect", "--model", checkpoint) == 0
