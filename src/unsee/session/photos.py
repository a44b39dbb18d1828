"""Photos of others as a request of a session takes them."""

from collections.abc import Callable

from unsee import data
from unsee.data import Images
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
    method: Method,
    batch: int,
) -> Others:
    """Retained and public photos, without those whose `salted` hash is among those of forgotten targets, `gone`.

    Each is decoded once, and ready for training with its features on `vlm`, unless the method asks about the photos
    themselves. Raises InputError where none is left, or the method takes no public ones.
    """
    if retain is not None and public is not None:
        raise InputError("public photos stand in for retained ones; give the one or the other.")
    if retain is not None:
        samples = _pictured(retain, "retained")
        ready = None if method.language else prepare(vlm, samples, batch)
        hashes = data.validate(samples, "retained") if ready is None else ready.hashes
        places = [place for place, digest in enumerate(hashes) if salted(digest) not in gone]
        if not places:
            raise InputError("all retained images are of forgotten targets; give others, or none.")
        return Others([samples[place] for place in places], None if ready is None else ready.only(places))
    if public is None:
        return Others()
    if not isinstance(method, FeatureMethod):
        raise InputError(
            f"public photos are for methods that move features, and {method.name} is none; leave them out."
        )
    shown = prepare(vlm, _pictured(public, "public"), batch)
    places = [place for place, digest in enumerate(shown.hashes) if salted(digest) not in gone]
    if not places:
        raise InputError("all public images are of forgotten targets; give others, or none.")
    return Others(public=shown.only(places))


def _pictured(images: Images, role: str) -> list[Sample]:
    samples = [sample for sample in data.samples_of(images) if sample.image is not None]
    if not samples:
        raise InputError(f"the {role} set holds no image; expected at least one, so add photos to it.")
    return samples
