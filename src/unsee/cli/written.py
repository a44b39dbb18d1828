"""The files of a result."""

from pathlib import Path

from unsee import api
from unsee.records import Result, to_json
from unsee.system.output import PAGE, RESULT


def write_result(result: Result, folder: Path) -> None:
    """Writes result.json and report.html."""
    (folder / RESULT).write_text(to_json(result), encoding="utf-8")
    api.report(result, folder / PAGE)
