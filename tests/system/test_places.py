"""Models by their folder or by their name on the hub, and what is said where there is none."""

from pathlib import Path

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from unsee.cli.parse import _at_home
from unsee.errors import InputError
from unsee.system import hub


def test_without_a_network_the_name_is_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(hub, "snapshot_download", unreachable)
    with pytest.raises(InputError, match="cannot be reached, or HF_HUB_OFFLINE is set") as error:
        hub.folder("hf://owner/name", "model", "a checkpoint folder")
    assert "check the name" not in str(error.value)


def test_a_folder_at_home_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert hub.folder("~/model", "model", "a checkpoint folder") == tmp_path / "model"
    with pytest.raises(InputError) as error:
        hub.folder("~/nothing", "model", "a checkpoint folder")
    assert "hf://" not in str(error.value)


@pytest.mark.parametrize(
    ("word", "meant"),
    [("--model=~/m", "--model=/h/m"), ("~/m", "/h/m"), ("a~/m", "a~/m"), ("--id=~", "--id=~"), ("--x=a=~/m",) * 2],
)
def test_a_word_that_no_shell_has_read_is_read_as_one_would(
    word: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/h")
    assert _at_home(word) == meant
