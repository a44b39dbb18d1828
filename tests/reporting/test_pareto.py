"""Forgetting against keeping: the front by hand, and everything on the page escaped."""

import itertools
import re

import pytest

from unsee.reporting.pareto import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Mark, draw, front


def test_the_front_is_what_nothing_else_beats_in_both() -> None:
    points = [
        Mark("a", 0.9, 0.5),
        Mark("b", 0.5, 0.9),
        Mark("c", 0.4, 0.8),
        Mark("d", 0.9, 0.4),
        Mark("e", 0.7, 0.7),
    ]
    assert [point.name for point in front(points)] == ["b", "e", "a"]
    assert front([]) == []


def test_points_stand_where_their_values_are_and_given_ones_are_not_of_the_front() -> None:
    svg = draw([Mark("<m>", 0.7, 1.0), Mark("oracle", 1.0, 1.0, given=True)], "a & b")
    assert "&lt;m&gt;" in svg
    assert "<m>" not in svg
    assert "a &amp; b" in svg
    circles = re.findall(r'<circle class="(\w*)" cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert [kind for kind, _, _ in circles] == ["best", "given"]
    assert float(circles[0][1]) == pytest.approx(LEFT + (WIDTH - LEFT - RIGHT) / 4)  # the axis begins at 60 %
    assert ">60 %<" in svg
    assert float(circles[1][2]) == TOP
    assert f'points="{circles[0][1]},{circles[0][2]}"' in svg
    assert not re.search(r"https?://(?!www\.w3\.org)|<script", svg)
    assert HEIGHT - BOTTOM > TOP


def test_names_of_points_in_one_place_do_not_lie_on_each_other() -> None:
    svg = draw([Mark(name, 0.3, 0.3) for name in "abc"], "t")
    found = re.findall(r'class="name" x="([\d.]+)" y="([\d.]+)"', svg)
    places = [(float(x), float(y)) for x, y in found]
    assert len(places) == 3
    for one, other in itertools.combinations(places, 2):
        assert abs(one[0] - other[0]) >= 12 or abs(one[1] - other[1]) >= 12


def test_an_axis_begins_below_every_point() -> None:
    svg = draw([Mark("a", 0.13, 0.41), Mark("b", 1.0, 0.9)], "t")
    assert [text for text in ("0 %", "40 %") if f">{text}<" in svg] == ["0 %", "40 %"]
    (x, y), _ = re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert float(x) == pytest.approx(LEFT + 0.13 * (WIDTH - LEFT - RIGHT), abs=0.1)
    assert float(y) == pytest.approx(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * 0.01 / 0.6, abs=0.1)
