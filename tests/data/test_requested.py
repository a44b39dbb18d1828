"""What a checkpoint's record knows of photos."""

from typing import Any

from PIL import Image

from unsee.data.aside import Divided
from unsee.data.content import hash_of
from unsee.data.requested import about_same, keyed, request_of, shown_in, shown_to
from unsee.records import Sample

PHOTOS = [Sample(Image.new("RGB", (8, 8), (shade, 0, 0)), f"person {shade}") for shade in range(5)]


def test_a_request_knows_its_photos_and_those_that_were_kept_out() -> None:
    made = request_of(Divided(PHOTOS[:1], PHOTOS[1:2], PHOTOS[2:3], PHOTOS[3:4]), "r", "2026-11-29T00:00:00+00:00")
    assert shown_in(made, PHOTOS) == ["used", "aside", "", "unshown", ""]
    assert shown_to({"request": made}) is made
    assert about_same(made, PHOTOS[:1])
    assert not about_same(made, PHOTOS[2:]), "who was kept out is not what the request was about"


def test_an_export_knows_the_photos_of_its_session_unless_there_is_a_secret() -> None:
    salt = "5" * 32
    hashes = [[keyed(hash_of(photo), salt.encode())] for photo in PHOTOS[:2]]
    record: dict[str, Any] = {"session": {"salt": salt, "certificates": [{"target_hashes": own} for own in hashes]}}
    known = shown_to(record)
    assert known is not None
    assert shown_in(known, PHOTOS) == ["used", "used", "", "", ""]
    del record["session"]["salt"]
    assert shown_to(record) is None
    assert shown_to({}) is None


def test_hashes_show_nobody() -> None:
    made = request_of(Divided(PHOTOS[:1], [], [], []), "r", "2026-11-29T00:00:00+00:00")
    assert hash_of(PHOTOS[0]) not in str(made)
