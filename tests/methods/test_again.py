"""A request whose training moved something that the model does not read is made once more; the better one stands."""

import pytest

from unsee import api
from unsee.data import samples_of
from unsee.data.aside import Divided
from unsee.evaluation.hearing import Hearing, silent
from unsee.forgetting.edit import Edit
from unsee.methods import NSCVF
from unsee.methods.attempts import best_edit
from unsee.records import Verdict

QUICK = {"batch": 2, "views": 1, "composites": 0}
COUNTS = {f"{group}_{what}": (0, 4) for group in ("used", "aside") for what in ("named", "misattributed")}
COUNTS |= {"shown_kept": (4, 4), "unshown_kept": (4, 4)}


def heard(*missed: str, named: int = 0, used: int = 0, kept: int = 4) -> Verdict:
    counts = COUNTS | {"aside_named": (named, 4), "used_named": (used, 4), "shown_kept": (kept, 4)}
    return Verdict(not missed, "Who is this?", counts, missed)


def test_images_are_described_otherwise_only_where_nobody_said_how() -> None:
    assert NSCVF().attempts(asked=True) == [NSCVF(), NSCVF(runs=1)]
    assert NSCVF().attempts(asked=False) == [NSCVF()]
    assert NSCVF(runs=4).attempts(asked=True) == [NSCVF(runs=4)]


def test_twice_the_steps_are_made_only_where_nobody_said_how_many() -> None:
    assert NSCVF().longer(1) == NSCVF(steps=400)
    assert NSCVF().longer(10) == NSCVF(steps=1600)
    assert NSCVF(steps=200).longer(1) is None


@pytest.mark.parametrize(
    ("verdicts", "runs", "left"),
    [
        ([heard()], 1, 0),
        ([heard("used_named", used=2), heard()], 2, 1),
        ([heard("used_named", used=3), heard("used_named", used=2)], 2, 1),
        ([heard("used_named", used=2), heard("used_named", used=3)], 2, 0),
        ([heard("shown_kept", kept=2), heard()], 2, 1),
        ([heard("aside_named", named=4)], 1, 0),
        ([heard("unshown_kept", "used_named", used=1)], 1, 0),
        ([heard("unknown", "used_named", used=3)], 1, 0),
        ([heard("misattributed"), heard()], 2, 1),
        ([heard("misattributed"), heard("misattributed", "aside_named", named=2)], 2, 0),
        ([heard("misattributed", "used_named", used=2), heard()], 2, 1),
    ],
)
def test_the_better_of_two_attempts_stands(
    verdicts: list[Verdict], runs: int, left: int, vlm, target, retained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the verdict says decides alone; a third attempt is never made."""
    given, told = iter(verdicts), list[str]()
    monkeypatch.setattr(Hearing, "best_share", lambda *_: (1.0, next(given)))
    monkeypatch.setattr("unsee.forgetting.settings.STEPS", 2)
    monkeypatch.setattr(NSCVF, "attempts", lambda self, **_: [self, NSCVF(steps=3, **QUICK)])
    monkeypatch.setattr(NSCVF, "longer", lambda *_: NSCVF(steps=3, **QUICK))
    spent, once = list[float](), NSCVF.forget

    def timed(self: NSCVF, *args: object, **more: object) -> Edit:
        edit = once(self, *args, **more)
        spent.append(edit.timings["forget_s"])
        return edit

    monkeypatch.setattr(NSCVF, "forget", timed)
    edit = api.forget(vlm, target, retained, method=NSCVF(**QUICK), tell=told.append)
    assert next(given, None) is None
    assert edit.method["attempts"] == len(spent) == runs
    assert edit.timings["forget_s"] == pytest.approx(sum(spent), abs=0.01)
    assert edit.verdict == verdicts[left]
    assert edit.method["steps"] == (2, 3)[left]
    assert any("made again" in text for text in told) == (runs == 2)


@pytest.mark.parametrize(
    ("kept_by", "missed"), [("layers alone", ("no_others",)), ("drawn states", ()), ("photos", ())]
)
def test_where_nothing_stood_for_others_a_request_misses_its_aim(
    kept_by: str, missed: tuple[str, ...], vlm, target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sees there what they lose; of a model that was not asked the last look decides, as elsewhere."""
    made = Edit(vlm, {}, {"name": "nscvf", "kept_by": kept_by}, 0, "", timings={"forget_s": 0.0})
    monkeypatch.setattr(NSCVF, "forget", lambda *_, **__: made)
    hearing = Hearing(Divided(samples_of(target), [], [], []))
    for verdict, expected in ((heard(), missed), (Verdict(True, "", {}), ())):
        monkeypatch.setattr(Hearing, "best_share", lambda *_, found=verdict: (1.0, found))
        edit = best_edit(NSCVF(), vlm, hearing, None, silent)
        assert edit.verdict is not None
        assert (edit.verdict.missed, edit.verdict.passed) == (expected, not expected)
