"""Options that are mistyped end in one sentence, which names them and what was expected."""

import pytest

from unsee.cli.main import main

MISTYPED = {
    "forget nscvf --modle x": "'--modle' is no option of unsee forget nscvf; did you mean --model?",
    "forget nscvf --model x": "unsee forget nscvf needs --out; give it.",
    "forget nscvf --model x --out y --taget z q": "did you mean --target?",
    "forget nscvf --model x --out y --xyzzy": "'--xyzzy' is no option of unsee forget nscvf; leave it out.",
    "forget nscvf --model x --out y --share a": "--share is 'a'; expected a number or auto.",
    "forget nscvf --model x --out y --rate 1e": "--rate is '1e'; expected a number.",
    "forget nscvf --model x --out y --steps -5": "steps is -5; expected a whole number of 1 or more.",
    "forget nscvf --model x --out y --memory q": "--memory is 'q'; expected normal or low.",
    "forget nscvf --model --out y": "--model has no value; write one behind it.",
    "evaluate --model x --out y --limit abc": "--limit is 'abc'; expected a whole number.",
    "evaluate --model x --out y --hub maybe": "unsee evaluate has no place for 'maybe'",
    "session init": "unsee session init needs DIR, --model and --retain; give them.",
    "ls nothing": "what is 'nothing'; expected methods, families, benchmarks, metrics or attacks.",
    "ls": "unsee ls needs one of methods, families, benchmarks, metrics, attacks; give it.",
    "report a b": "unsee report has no place for 'b'",
}


@pytest.mark.parametrize("typed", MISTYPED)
def test_what_is_mistyped_ends_in_one_sentence(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(typed.split()) == 2
    told = capsys.readouterr()
    said = [line for line in told.err.splitlines() if "starting" not in line]
    assert len(said) == 1, said
    assert MISTYPED[typed] in said[0]
    assert "--help shows the options." in said[0]
    assert not told.out


@pytest.mark.parametrize("empty", ["--target", "--cache", "--out", "--model"])
def test_an_empty_word_is_no_path(empty: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"--model": "x", "--target": "t", "--out": "y"} | {empty: ""}
    words = [word for pair in given.items() for word in pair]
    assert main(["forget", "nscvf", *words]) == 2
    assert f"{empty} is empty; expected a path" in capsys.readouterr().err
