"""A stream of requests is measured after each, and goes on where it was cut off."""

import json
import math
from pathlib import Path

import pytest

from unsee.benchmarks import personas
from unsee.benchmarks.personas import Stream
from unsee.errors import InputError
from unsee.experiments.stream import VARIANTS, Variant, run, table
from unsee.methods import NSCVF, ClosedForm
from unsee.session.audit import verify


@pytest.fixture(scope="module")
def small() -> Stream:
    """Two requests of five people, one question each."""
    whole = personas.stream("stream", 0, 1)
    names = [name for name, _ in whole.requests[:2]]
    staying = whole.never[:3]
    questions = {name: [q for q in whole.questions[name] if "Who" in q.question][:1] for name in (*names, *staying)}
    kept = [sample for sample in whole.retained if sample.concept in (*names, *staying)]
    return Stream(whole.model, kept, whole.requests[:2], questions, staying)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "nscvf", Variant(NSCVF(steps=2, batch=4, views=0, composites=0)))
    fives = Variant(NSCVF(steps=2, batch=4, views=0, composites=0), together=2)
    monkeypatch.setitem(VARIANTS, "nscvf_fives", fives)
    monkeypatch.setitem(VARIANTS, "closed_form", Variant(ClosedForm(sweeps=1, views=0), images=False))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("name", ["nscvf", "closed_form"])
def test_a_stream_that_was_cut_off_goes_on(name: str, small: Stream, tmp_path: Path) -> None:
    told: list[str] = []
    first = run(small, name, 0, tmp_path, told.append, requests=1)
    whole = run(small, name, 0, tmp_path, told.append)
    assert [row.request for row in whole] == [0, 1, 2]
    assert [json.loads(line)["request"] for line in (tmp_path / f"{name}_0.jsonl").read_text().splitlines()] == [
        0,
        1,
        2,
    ]
    assert len(told) == 3
    assert (first[1].forgotten, first[1].seconds) == (whole[1].forgotten, whole[1].seconds)
    assert math.isnan(whole[0].forgotten)
    assert min(whole[0].waiting, whole[0].never) >= 0.5  # the model did know them before
    assert math.isnan(whole[2].waiting)
    assert whole[2].drift > 0
    assert verify(tmp_path / f"{name}_0").startswith("3 entries")
    (line,) = table(whole)
    assert line["request"] == 2
    assert line["never_before"] == whole[0].never


@pytest.mark.usefixtures("quick")
def test_requests_that_are_settled_together_are_measured_after_each_settling(small: Stream, tmp_path: Path) -> None:
    rows = run(small, "nscvf_fives", 0, tmp_path, lambda _: None)
    assert [row.request for row in rows] == [0, 2]
    assert verify(tmp_path / "nscvf_fives_0").startswith("4 entries")  # the beginning, two that waited, one settling
    assert [row.request for row in run(small, "nscvf_fives", 0, tmp_path, lambda _: None)] == [0, 2]


@pytest.mark.usefixtures("quick")
def test_not_every_request_need_be_measured(small: Stream, tmp_path: Path) -> None:
    rows = run(small, "closed_form", 0, tmp_path, lambda _: None, every=3)
    assert [row.request for row in rows] == [0, 2]


def test_the_order_is_drawn_from_the_seed_and_nobody_is_asked_about_on_a_shown_photo() -> None:
    one, again, other = (personas.stream("stream", seed) for seed in (0, 0, 1))
    orders = [[name for name, _ in stream.requests] for stream in (one, again, other)]
    assert orders[0] == orders[1] != orders[2]
    assert set(orders[0]) == set(orders[2])
    assert len(orders[0]) == 20
    assert len(one.never) == 80
    shown = {sample.image.tobytes() for sample in one.retained if sample.image is not None}
    asked = [q.image.tobytes() for name in orders[0] for q in one.questions[name] if q.image is not None]
    assert asked
    assert not shown & set(asked)
    with pytest.raises(InputError, match="unknown split of personas"):
        personas.stream("nothing")
