"""A result.json that somebody edited: its page, or one sentence that names the field, and never anything else."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_result import sample

from by_hand import edited, paths
from unsee.errors import InputError
from unsee.records import from_json, to_json
from unsee.reporting.page import render

WHOLE = json.loads(to_json(sample()))
VALUES = [None, True, -1, 3, 1e308, "x", "", [], {}, [1], {"a": 1}, [[]], "\ud800", 10**30, "a" * 10_000, "../..", ...]


@settings(deadline=None, derandomize=True, max_examples=250)
@given(st.sampled_from(list(paths(WHOLE, items=3))), st.sampled_from(VALUES))
def test_an_edited_record_is_a_page_or_a_sentence(path: tuple[str | int, ...], value: Any) -> None:
    record = edited(WHOLE, path, value)
    told = ""
    try:
        assert render(from_json(json.dumps(record))).encode("utf-8").startswith(b"<!doctype html>")
    except InputError as refusal:
        told = str(refusal)
    assert not told or ("result.json" in told and len(told) < 500)


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, '{"a": NaN}', "null", '"x"', "3", '{"schema": 1}'])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"result\.json"):
        from_json(text)
