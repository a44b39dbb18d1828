"""`unsee bench-stream` as it is typed; what it measures is tested in tests/test_stream.py."""

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., int]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--methods", "nscfv"), "did you mean 'nscvf'"),
        (("--seeds", "a"), "--seeds is a; expected numbers with commas"),
        (("--requests", "0"), "--requests is 0; expected 1 or more"),
        (("--split", "forget_01"), "unknown split of personas"),
    ],
)
def test_bad_arguments_are_sentences(
    words: tuple[str, str], said: str, unsee: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unsee("bench-stream", "--out", tmp_path / "out", *words) == 2
    assert said in capsys.readouterr().err
