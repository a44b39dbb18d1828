"""A result.json that somebody edited: its page, or one sentence that names the field, and never anything else."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_result import sample

from unsee.errors import InputError
from unsee.records import from_json, to_json
from unsee.reporting.page import render

WHOLE = json.loads(to_json(sample()))
VALUES = [None, True, -1, 3, 1e308, "x", "", [], {}, [1], {"a": 1}, [[]], "\ud800", 10**30, "a" * 10_000, "../..", ...]


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where a record has something, of lists the first three items."""
    if path:
        yield path
    parts = value.items() if isinstance(value, dict) else list(enumerate(value))[:3] if isinstance(value, list) else ()
    for name, part in parts:
        yield from paths(part, (*path, name))


@settings(deadline=None, derandomize=True, max_examples=250)
@given(st.sampled_from(list(paths(WHOLE))), st.sampled_from(VALUES))
def test_an_edited_record_is_a_page_or_a_sentence(path: tuple[str | int, ...], value: Any) -> None:
    edited = json.loads(json.dumps(WHOLE))
    node = edited
    for step in path[:-1]:
        node = node[step]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    told = ""
    try:
        assert render(from_json(json.dumps(edited))).encode("utf-8").startswith(b"<!doctype html>")
    except InputError as refusal:
        told = str(refusal)
    assert not told or ("result.json" in told and len(told) < 500)


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, '{"a": NaN}', "null", '"x"', "3", '{"schema": 1}'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"result\.json"):
        from_json(text)
