"""Photos of others as a request of a session takes them."""

from collections.abc import Callable, Mapping, Sequence

from unsee import data
from unsee.data import Images
from unsee.data.content import similar
from unsee.data.similar import Look
from unsee.errors import InputError
from unsee.forgetting.by_features import FeatureMethod
from unsee.methods import Method
from unsee.models.checkpoint import Vlm
from unsee.moments.measure import prepare
from unsee.records import Sample
from unsee.session.request import Others


def others(
    vlm: Vlm,
    retain: Images | None,
    public: Images | None,
    gone: set[str],
    salted: Callable[[str], str],
    targets: Sequence[Sample],
    method: Method,
    batch: int,
    *,
    drop: bool,
) -> Others:
    """Retained and public photos, without those whose `salted` hash is among those of forgotten targets, `gone`.

    Each is decoded once, and ready for training with its features on `vlm`, unless the method asks about the photos
    themselves. Raises InputError where none is left, or the method takes no public ones, and where one is a photo of
    the `targets` resized or encoded anew, unless such are to be dropped.
    """
    if retain is not None and public is not None:
        raise InputError("public photos stand in for retained ones; give the one or the other.")
    wanted = dict[str, Look]()
    by_hash = dict(zip(data.validate(targets, "target", wanted), targets, strict=True))

    def left(samples: Sequence[Sample], hashes: Sequence[str], looks: Mapping[str, Look]) -> list[int]:
        pairs = enumerate(zip(samples, hashes, strict=True))
        others = [(place, sample, digest) for place, (sample, digest) in pairs if salted(digest) not in gone]
        return [
            place for place, sample, digest in others if not similar(sample, looks[digest], by_hash, wanted, drop=drop)
        ]

    if retain is not None:
        samples, looks = _pictured(retain, "retained"), dict[str, Look]()
        ready = None if method.language else prepare(vlm, samples, batch, looks=looks)
        hashes = data.validate(samples, "retained", looks) if ready is None else ready.hashes
        places = left(samples, hashes, looks)
        if not places:
            raise InputError("all retained images are of forgotten targets; give others, or none.")
        return Others([samples[place] for place in places], None if ready is None else ready.only(places))
    if public is None:
        return Others()
    if not isinstance(method, FeatureMethod):
        raise InputError(
            f"public photos are for methods that move features, and {method.name} is none; leave them out."
        )
    samples, looks = _pictured(public, "public"), dict[str, Look]()
    shown = prepare(vlm, samples, batch, looks=looks)
    places = left(samples, shown.hashes, looks)
    if not places:
        raise InputError("all public images are of forgotten targets; give others, or none.")
    return Others(public=shown.only(places))


def _pictured(images: Images, role: str) -> list[Sample]:
    samples = [sample for sample in data.samples_of(images) if sample.image is not None]
    if not samples:
        raise InputError(f"the {role} set holds no image; expected at least one, so add photos to it.")
    return samples
