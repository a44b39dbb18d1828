"""What a record says of a request's photos: hashes by which they can be recognised, and nothing that shows them."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from unsee.data.aside import Divided
from unsee.data.content import hash_of
from unsee.records import Request, Sample


def keyed(text: str, key: bytes) -> str:
    """HMAC-SHA-256 of a text, such as a photo's content hash, in hex."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def request_of(parts: Divided, identifier: str, time: str) -> Request:
    """The record of a request about these photos, with a salt of its own; `time` is in UTC.

    Without an identifier it is called after its day and salt.
    """
    salt = secrets.token_hex(16)
    retained = [*parts.shown, *parts.unshown]
    return Request(
        id=identifier or f"{time[:10]}-{salt[:6]}",
        time=time,
        salt=salt,
        used=_hashes(parts.used, salt),
        aside=_hashes(parts.aside, salt),
        concepts=tuple(sorted({keyed(s.concept, salt.encode()) for s in (*parts.used, *parts.aside)})),
        retained_images=len({sample.picture for sample in retained if sample.image is not None}),
        retained_concepts=len({sample.concept for sample in retained}),
        unshown=_hashes(parts.unshown, salt),
    )


def _hashes(samples: Sequence[Sample], salt: str) -> tuple[str, ...]:
    photos = {sample.picture: sample for sample in samples if sample.image is not None}
    return tuple(keyed(hash_of(sample), salt.encode()) for sample in photos.values())


def shown_in(request: Request, samples: Sequence[Sample]) -> list[str]:
    """Of each sample's photo, where the request has it: "used", "aside", "unshown" or ""."""
    groups = ("used", request.used), ("aside", request.aside), ("unshown", request.unshown)
    where = {digest: name for name, digests in groups for digest in digests}
    key, found = request.salt.encode(), list[str]()
    for sample in samples:
        digest = None if sample.image is None else keyed(hash_of(sample), key)
        found.append("" if digest is None else where.get(digest, ""))
    return found


def shown_to(record: Mapping[str, Any]) -> Request | None:
    """The request by whose hashes a checkpoint's record knows photos; None where it knows none.

    Of a session's export that are all photos of its requests, as used: which of them were set aside it does not say. It
    knows none where the session has a secret.
    """
    session = record.get("session") or {}
    if record.get("request") or not session.get("salt"):
        found: Request | None = record.get("request")
        return found
    used = tuple(digest for each in session.get("certificates", ()) for digest in each.get("target_hashes", ()))
    return Request("", "", session["salt"], used, (), (), 0, 0)


def about_same(request: Request, samples: Sequence[Sample]) -> bool:
    """Whether samples show or name what the request was about: one of its photos, or one of its concepts."""
    named = {keyed(concept, request.salt.encode()) for concept in {sample.concept for sample in samples}}
    return bool(named & set(request.concepts)) or not {"used", "aside"}.isdisjoint(shown_in(request, samples))
