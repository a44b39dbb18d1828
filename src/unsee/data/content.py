"""What an image shows, apart from its name and container: content hashes and the checks built on them."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import Image

from unsee.data.images import describe, open_image
from unsee.errors import InputError
from unsee.records import Sample


def content_hash(image: Image.Image) -> str:
    """SHA-256, in hex, of the size and RGB pixels: equal for the same picture in another lossless container."""
    rgb = open_image(image)
    digest = hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode())
    digest.update(rgb.tobytes())
    return digest.hexdigest()


def validate(samples: Iterable[Sample], role: str) -> list[str]:
    """Decodes each image, one at a time, and returns the content hash of each sample that has one, in order.

    `role` is "target" or "retained". Raises InputError where an image cannot be read or there is none.
    """
    return [digest for _, digest in _hashed(samples, role)]


def check_disjoint(target: Iterable[Sample], retained: Iterable[Sample]) -> None:
    """Raises InputError, naming both, where a target and a retained image hold the same pixels.

    Includes the checks of `validate` on both, so one call reads every image once.
    """
    targets = {digest: sample for sample, digest in _hashed(target, "target")}
    for sample, digest in _hashed(retained, "retained"):
        if digest in targets:
            raise InputError(
                f"target image {describe(targets[digest])} and retained image {describe(sample)} show the same "
                "picture; expected no image in both, so remove it from one."
            )


def _hashed(samples: Iterable[Sample], role: str) -> Iterator[tuple[Sample, str]]:
    """Each sample that has an image, with its hash; a file asked about in several samples is read once."""
    known: dict[Path, str] = {}
    empty = True
    for sample in samples:
        if sample.image is None:
            continue
        empty = False
        if not isinstance(sample.image, Path):
            yield sample, content_hash(open_image(sample))
            continue
        if sample.image not in known:
            known[sample.image] = content_hash(open_image(sample))
        yield sample, known[sample.image]
    if empty:
        raise InputError(f"the {role} set holds no image; expected at least one, so add photos to it.")
