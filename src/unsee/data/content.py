"""What an image shows, apart from its name and container: content hashes and the checks built on them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from PIL import Image

from unsee.data.images import describe, open_image
from unsee.data.similar import Look, like, look
from unsee.data.workers import each_made
from unsee.errors import InputError
from unsee.records import Sample
from unsee.system.disk import file_state

_known: dict[tuple[int, ...], str] = {}  # hashes of files as they were


def content_hash(image: Image.Image) -> str:
    """SHA-256, in hex, of the size and RGB pixels: equal for the same picture in another lossless container."""
    rgb = open_image(image)
    digest = hashlib.sha256(f"{rgb.width}x{rgb.height}:".encode())
    digest.update(rgb.tobytes())
    return digest.hexdigest()


def hash_of(source: Sample | Path | Image.Image) -> str:
    """`content_hash` of an image that has to be opened; a file that did not change since is not read again.

    Raises InputError where it cannot be read.
    """
    picture = source.image if isinstance(source, Sample) else source
    if not isinstance(picture, Path):
        return content_hash(open_image(source))
    known = _recalled(picture)
    return _remembered(picture, content_hash(open_image(source))) if known is None else known


def _recalled(picture: Path | int) -> str | None:
    """The hash of a file that did not change since it was read."""
    if isinstance(picture, Path):
        with suppress(OSError):  # it is said when the file is opened
            return _known.get(file_state(picture))
    return None


def _remembered(picture: Path | int, digest: str) -> str:
    if isinstance(picture, Path):
        with suppress(OSError):  # a file that is gone meanwhile is not asked about again
            _known[file_state(picture)] = digest
    return digest


def validate(samples: Iterable[Sample], role: str, looks: dict[str, Look] | None = None) -> list[str]:
    """Decodes each image, one at a time, and returns the content hash of each sample that has one, in order.

    `role` is "target" or "retained". How each image looks goes into `looks`, by its hash. Raises InputError where an
    image cannot be read or there is none.
    """
    return [digest for _, digest in _hashed(samples, role, looks)]


def similar(
    sample: Sample, seen: Look, targets: Mapping[str, Sample], looks: Mapping[str, Look], *, drop: bool
) -> bool:
    """Whether a photo of others, which looks as `seen`, is a target photo resized or encoded anew.

    `targets` and their `looks` are by content hash. Raises InputError, naming both, where it is and is not to be
    dropped.
    """
    same = like(seen, looks)
    if same is not None and not drop:
        raise InputError(
            f"retained image {describe(sample)} is target image {describe(targets[same])} resized or encoded anew; "
            "remove it, or let --drop-similar leave it out."
        )
    return same is not None


def without_copies(samples: Sequence[Sample]) -> tuple[list[Sample], int]:
    """The samples without photos that hold the same pixels as an earlier one, and how many photos those are.

    A copy that was trained on would tell nothing about its twin that was set aside.
    """
    first: dict[str, Path | int] = {}
    copies = set[Path | int]()
    for sample, digest in _hashed(samples, "target"):
        if first.setdefault(digest, sample.picture) != sample.picture:
            copies.add(sample.picture)
    return [sample for sample in samples if sample.picture not in copies], len(copies)


def check_disjoint(target: Iterable[Sample], retained: Iterable[Sample], *, drop: bool = False) -> list[Sample]:
    """The retained samples, none of which shows the picture of a target one.

    Raises InputError, naming both, where a target and a retained image hold the same pixels, or where, unless such are
    to be dropped, one is the other resized or re-encoded. Includes the checks of `validate` on both, so that one call
    reads every image once.
    """
    wanted, looks = dict[str, Look](), dict[str, Look]()
    targets = {digest: sample for sample, digest in _hashed(target, "target", wanted)}
    kept = list[Sample]()
    for sample, digest in _hashed(retained, "retained", looks):
        if digest in targets:
            raise InputError(
                f"target image {describe(targets[digest])} and retained image {describe(sample)} show the same "
                "picture; expected no image in both, so remove it from one."
            )
        if not similar(sample, looks[digest], targets, wanted, drop=drop):
            kept.append(sample)
    return kept


@contextmanager
def unchanged(samples: Iterable[Sample]) -> Iterator[None]:
    """While open, the photos must stay what they are: what was asked and trained would else be of others.

    Raises InputError at the end for the first that was written to, unless its hash was known and is the same. What is
    gone may be gone. No photo is opened that nobody wrote to.
    """
    before = {s.image: file_state(s.image) for s in samples if isinstance(s.image, Path)}
    yield
    for file, state in before.items():
        if file.exists() and file_state(file) != state and hash_of(file) != _known.get(state):
            raise InputError(f"{file} was changed while the work ran; put the photo right and begin again.")


def check_sides(target: Sequence[Sample], retained: Sequence[Sample]) -> None:
    """Raises InputError where a photo cannot be read, or one of the target holds the same pixels as a retained one.

    Either side may hold nothing. What is resized or encoded anew may be asked about on both.
    """
    if target and retained:
        check_disjoint(target, retained, drop=True)
    elif target or retained:
        validate(target or retained, "target" if target else "retained")


def _hashed(samples: Iterable[Sample], role: str, looks: dict[str, Look] | None = None) -> Iterator[tuple[Sample, str]]:
    """Each sample that has an image, with its hash; a photo asked about in several samples is read once.

    How each image looks goes into `looks`, by its hash.
    """
    pictured = [sample for sample in samples if sample.image is not None]
    if not pictured:
        raise InputError(f"the {role} set holds no image; expected at least one, so add photos to it.")
    digests = dict[Path | int, str]()
    if looks is None:
        digests = {file: known for sample in pictured if (known := _recalled(file := sample.picture)) is not None}
    unread = {sample.picture: sample for sample in pictured if sample.picture not in digests}
    reading = each_made(list(unread.values()), partial(_seen, looked=looks is not None))
    for sample in pictured:
        if sample.picture not in digests:
            digest, seen = next(reading)
            digests[sample.picture] = _remembered(sample.picture, digest)
            if looks is not None and seen is not None:
                looks.setdefault(digest, seen)
        yield sample, digests[sample.picture]


def _seen(sample: Sample, *, looked: bool) -> tuple[str, Look | None]:
    image = open_image(sample)
    return content_hash(image), look(image) if looked else None
