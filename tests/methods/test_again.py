"""A request that missed its aim is made once more, otherwise, and the better of the two stands."""

import pytest

from unsee import api
from unsee.evaluation.hearing import Hearing
from unsee.forgetting.edit import Edit
from unsee.methods import NSCVF
from unsee.records import Verdict

QUICK = {"batch": 2, "views": 1, "composites": 0}
COUNTS = {f"{group}_{what}": (0, 4) for group in ("used", "aside") for what in ("named", "misattributed")}
COUNTS |= {"shown_kept": (4, 4), "unshown_kept": (4, 4)}


def heard(*missed: str, named: int = 0) -> Verdict:
    return Verdict(not missed, "Who is this?", COUNTS | {"aside_named": (named, 4)}, missed)


def test_images_are_described_otherwise_only_where_nobody_said_how() -> None:
    assert NSCVF().attempts(asked=True) == [NSCVF(), NSCVF(runs=1)]
    assert NSCVF().attempts(asked=False) == [NSCVF()]
    assert NSCVF(runs=4).attempts(asked=True) == [NSCVF(runs=4)]


@pytest.mark.parametrize(
    ("verdicts", "runs", "left"),
    [
        ([heard()], 1, 0),
        ([heard("aside_named", named=3), heard()], 2, 1),
        ([heard("aside_named", named=3), heard("aside_named", named=2)], 2, 1),
        ([heard("aside_named", named=2), heard("aside_named", named=3)], 2, 0),
        ([heard("unshown_kept"), heard()], 2, 1),
        ([heard("unknown", "aside_named", named=3)], 1, 0),
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
    assert any("is made again" in text for text in told) == (runs == 2)
