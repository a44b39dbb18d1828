"""The files of a result."""

from pathlib import Path

from unsee import api
from unsee.records import Result, to_json
from unsee.reporting.summary import FAILED, judge, lines
from unsee.system.output import PAGE, RESULT


def write_result(result: Result, folder: Path) -> None:
    """Writes result.json and report.html."""
    (folder / RESULT).write_text(to_json(result), encoding="utf-8")
    api.report(result, folder / PAGE)


def holds(result: Result) -> bool:
    """Whether a result is what is wanted: no line of its page failed, and every check and bar passed."""
    failed = any(line.state == FAILED for line in lines(result))
    return not failed and all(check.passed for check in result.checks) and all(item.met for item in judge(result))
