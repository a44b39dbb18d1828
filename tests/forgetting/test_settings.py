"""What a request's settings are where nobody gave them."""

import pytest

from unsee.methods import NSCVF


@pytest.mark.parametrize(
    ("concepts", "photos", "hold"),
    [(1, 0, 10.0), (12, 0, 10.0), (1, 36, 100.0), (3, 50, 10.0), (1, 4_000, 10.0), (4, 36, 0.0), (4, 4_000, 0.0)],
)
def test_layers_are_held_where_few_or_no_photos_say_what_must_be_kept(concepts: int, photos: int, hold: float) -> None:
    assert NSCVF().holding(concepts, photos).hold == hold
    assert NSCVF(hold=3.0).holding(concepts, photos).hold == 3.0
