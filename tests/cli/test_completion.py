"""A shell completes commands, actions of a session, and every option of each."""

import subprocess

import pytest


def completed(script: str, *typed: str) -> set[str]:
    """What bash offers where the last of the words is typed."""
    words = " ".join(f"'{word}'" for word in ("unsee", *typed))
    ask = f'{script}\nCOMP_WORDS=({words}); COMP_CWORD={len(typed)}; _unsee; echo "${{COMPREPLY[@]}}"'
    return set(subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.slow
def test_bash_completes_what_help_names(unsee, capsys: pytest.CaptureFixture[str]) -> None:
    assert unsee("completion", "--shell", "bash") == 0
    script = capsys.readouterr().out
    assert completed(script, "for") == {"forget"}
    assert {"demo", "session", "--version"} <= completed(script, "")
    assert completed(script, "session", "cert") == {"certificate"}
    assert {"--target", "--keep-anyway", "--reach", "--log-file"} <= completed(script, "forget", "--")
    assert completed(script, "forget", "--target", "x", "--keep-") == {"--keep-anyway"}
    assert completed(script, "session", "forget", "x", "--keep-u") == {"--keep-undo"}
    assert unsee("completion", "--shell", "fish") == 0
    assert "__fish_seen_subcommand_from forget' -l target\n" in capsys.readouterr().out
