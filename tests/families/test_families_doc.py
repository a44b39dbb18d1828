"""The table of families: what it says is tested is tested, what it refuses is refused, and its page is up to date."""

import json
from pathlib import Path

import pytest
import zoo

from unsee.errors import InputError
from unsee.models.checkpoint import skeleton
from unsee.models.families import FAMILIES, markdown

ROOT = Path(__file__).parents[2]


def test_the_page_is_written_from_the_table() -> None:
    assert (ROOT / "docs" / "families.md").read_text(encoding="utf-8") == markdown()


def test_what_works_is_what_is_tested() -> None:
    tested = {name for name, family in FAMILIES.items() if family.tested}
    assert tested == {zoo.build(name)[0].config.model_type for name in zoo.FAMILIES}
    assert len(tested) >= 25


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.refused])
def test_what_is_refused_is_refused(name: str, tmp_path: Path) -> None:
    assert not FAMILIES[name].tested
    (tmp_path / "config.json").write_text(json.dumps({"model_type": name}))
    with pytest.raises(InputError, match=FAMILIES[name].refused):
        skeleton(tmp_path)
