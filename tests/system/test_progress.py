"""How far work is, is shown once, by whoever shows it, and by tqdm where nobody does."""

import io

import pytest

from unsee.system.progress import reported, steps, visible


class Terminal(io.StringIO):
    """What a terminal is to those who write to it."""

    def isatty(self) -> bool:
        return True


@visible
def work() -> int:
    return sum(steps("counting", range(4)))


@pytest.mark.parametrize(("place", "seen"), [(Terminal(), True), (io.StringIO(), False)])
def test_on_a_terminal_each_kind_of_work_has_a_bar(
    place: io.StringIO, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", place)
    assert work() == 6
    assert ("counting" in place.getvalue()) == seen


def test_who_shows_it_already_does_so_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    told, place = list[tuple[str, int, int, str]](), Terminal()
    monkeypatch.setattr("sys.stderr", place)
    with reported(lambda *what: told.append(what)):
        assert work() == 6
    assert told[-1] == ("counting", 4, 4, "")
    assert place.getvalue() == ""
