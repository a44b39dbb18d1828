"""The page of a stream: a line for each variant that has values, everything escaped, nothing from elsewhere."""

import re
from pathlib import Path

import pytest

from unsee.errors import InputError
from unsee.reporting import curves

NAN = float("nan")


def rows(name: str, seed: int, forgotten: list[float]) -> list[dict[str, object]]:
    return [
        {
            "variant": name, "seed": seed, "request": number, "forgotten": value, "named": value, "first": value,
            "never": 0.9, "waiting": 1.0, "scene": 1.0, "seconds": 10.0 * (number > 0),
        }
        for number, value in enumerate(forgotten)
    ]  # fmt: skip


def test_a_line_is_the_mean_over_seeds_of_what_is_finite() -> None:
    own = {"a": rows("a", 0, [NAN, 0.2, 0.4]) + rows("a", 1, [NAN, 0.4, 0.8]), "b": rows("b", 0, [NAN, NAN, NAN])}
    drawing = str(curves.panel(own, "forgotten"))
    (line,) = re.findall(r'points="([^"]*)"', drawing)
    points = [tuple(map(float, point.split(","))) for point in line.split()]
    assert len(points) == 2
    height = curves.HEIGHT - curves.BOTTOM - 8
    assert [point[1] for point in points] == pytest.approx([8 + height * 0.7, 8 + height * 0.4], abs=0.1)
    assert points[1][0] == curves.WIDTH - 8
    assert len(re.findall("<polyline", str(curves.panel(own, "never")))) == 2


def test_the_page_says_the_last_values_and_loads_nothing(tmp_path: Path) -> None:
    both = rows("<b>", 0, [NAN, 0.25, 0.5]) + rows("other", 0, [NAN, 0.1])
    curves.write(both, "a & b", tmp_path / "stream.html")
    page = (tmp_path / "stream.html").read_text()
    assert "a &amp; b" in page
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "50.0\u202f%" in page
    assert "10.0\u202f%" in page
    assert not re.search(r"https?:|<script|src=", page)
    assert page.count("<section>") == len(curves.PANELS)


def test_a_stream_without_a_request_has_a_page(tmp_path: Path) -> None:
    page = curves.render(rows("a", 0, [NAN]), "nothing yet")
    assert "\u2013" in page
    with pytest.raises(InputError, match="is a folder"):
        curves.write(rows("a", 0, [NAN]), "t", tmp_path)
