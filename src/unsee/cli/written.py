"""The files of a result."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unsee import api
from unsee.records import Result, plain, to_json
from unsee.reporting.summary import FAILED, judge, lines
from unsee.system.output import PAGE, RESULT


def write_result(result: Result, folder: Path) -> None:
    """Writes result.json and report.html."""
    (folder / RESULT).write_text(to_json(result), encoding="utf-8")
    api.report(result, folder / PAGE)


def with_record(result: Result, record: Mapping[str, Any]) -> Result:
    """The result of a checkpoint, with what the checkpoint's own record says of how it was made."""
    return replace(
        result,
        method=record.get("method", {}),
        seed=record.get("seed", 0),
        request=plain(record.get("request")),
    )


def holds(result: Result) -> bool:
    """Whether a result is what is wanted: no line of its page failed, and every check and bar passed."""
    failed = any(line.state == FAILED for line in lines(result))
    return not failed and all(check.passed for check in result.checks) and all(item.met for item in judge(result))
