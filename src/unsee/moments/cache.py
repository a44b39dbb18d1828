"""What is measured of retained photos, kept in a folder for later runs of the same model and photos.

Source: ours.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import transformers
from PIL.Image import Image
from torch import Tensor

from unsee import __version__
from unsee.data import content_hash
from unsee.errors import InputError
from unsee.linalg.gram import Gram
from unsee.models.checkpoint import Vlm, visual_hash
from unsee.models.features import Features
from unsee.models.inputs import as_asked
from unsee.moments.file import StoredGrams, _tensors
from unsee.system.device import precision_on
from unsee.system.disk import allow, file_hash, is_there
from unsee.system.output import with_file
from unsee.system.processes import anyone, first
from unsee.system.tensors import TensorFile, fingerprint, opened, write

FORM, NAME = "unsee-cache-2", "name"  # what says of which photos, model and layer a file is
LOG = logging.getLogger("unsee")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Cache:
    """A folder of such files, of one model.

    Each file's name is a hash of what it was measured of: the visual weights, what makes numbers of photos, precision,
    versions, and the photos' bytes. So a file of another model is not found, and none is ever out of date.
    """

    folder: Path
    model: str

    def grams(self, photos: str, layers: Iterable[str], every: Mapping[str, int]) -> StoredGrams:
        """Those of these layers' Grams that are kept; `every` says of which share of the tokens (see `measure`)."""
        found = {}
        for name in layers:
            place = self._gram(photos, name, every)
            if (kept := self._found(place, lambda stored, _: (stored, float(stored.facts["count"])))) is not None:
                found[name] = kept
        return StoredGrams(found)

    def keep_gram(self, photos: str, name: str, every: Mapping[str, int], gram: Gram) -> None:
        """Keeps the Gram of one layer."""
        self._keep(self._gram(photos, name, every), _tensors(name, gram), {"count": gram.count})

    def hashes(self, photos: str) -> list[str] | None:
        """The content hashes of these photos, in their order; None where they are not kept."""
        place = self._place("hashes", photos)
        return self._found(place, lambda _, kept: [bytes(row).hex() for row in kept["hashes"].numpy()])

    def keep_hashes(self, photos: str, hashes: Sequence[str]) -> None:
        """Keeps them."""
        rows = torch.frombuffer(bytearray(bytes.fromhex("".join(hashes))), dtype=torch.uint8)
        self._keep(self._place("hashes", photos), {"hashes": rows.view(len(hashes), -1)}, {})

    def features(self, hashes: Sequence[str]) -> Features | None:
        """The features of photos with these content hashes, in their order; None where they are not kept."""

        def made(stored: TensorFile, kept: Mapping[str, Tensor]) -> Features:
            names = list(stored.facts["names"])
            return Features(*({n: kept[f"{part} {at}"] for at, n in enumerate(names)} for part in ("values", "counts")))

        return self._found(self._place("features", *hashes), made)

    def keep_features(self, hashes: Sequence[str], features: Features) -> None:
        """Keeps them."""
        tensors = dict[str, Tensor]()
        for place, name in enumerate(features.values):
            tensors |= {f"values {place}": features.values[name], f"counts {place}": features.counts[name]}
        self._keep(self._place("features", *hashes), tensors, {"names": list(features.values)})

    def _gram(self, photos: str, name: str, every: Mapping[str, int]) -> Path:
        return self._place("gram", photos, name, str(every.get(name, 1)))

    def _place(self, kind: str, *parts: str) -> Path:
        return self.folder / f"{kind}-{fingerprint(self.model, *parts)[:32]}.safetensors"

    def _found(self, file: Path, made: Callable[[TensorFile, Mapping[str, Tensor]], Made]) -> Made | None:
        """What is `made` of a file that is whole and of what is in it; of several processes all have it, or none."""
        kept: Made | None = None
        try:
            if is_there(file):
                stored = opened(file, FORM)
                if stored.facts.get(NAME) != file.stem:
                    raise ValueError("it was kept under another name")  # noqa: TRY301 # as every other damage
                kept = made(stored, stored.read(stored.sums))
        except (ValueError, TypeError, LookupError, RuntimeError, AttributeError) as error:
            LOG.warning("%s of the cache is damaged and is made again (%s)", file.name, error)
        return None if anyone(kept is None) else kept

    def _keep(self, file: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
        """Writes a file; where the disk refuses, that is said and the work goes on without."""

        def fill(part: Path) -> None:
            write(part, tensors, FORM, {**facts, NAME: file.stem})
            allow(part, 0o600)

        if not first():
            return
        try:
            with_file(file, fill)
        except InputError as error:
            LOG.warning("the cache does not keep %s: %s", file.name, error)


def cache_of(vlm: Vlm) -> Cache | None:
    """The cache of a model that was opened with one. Raises InputError where that is no folder."""
    if vlm.cache is None:
        return None
    if is_there(vlm.cache) and not vlm.cache.is_dir():
        raise InputError(f"the cache {vlm.cache} is no folder; name one, which is made where it is missing.")
    reads = (repr(vlm.processor.image_processor), repr(as_asked(vlm.processor)))
    parts = (visual_hash(vlm), *reads, precision_on(vlm.device), vlm.device.type)
    return Cache(vlm.cache, fingerprint(*parts, __version__, transformers.__version__, torch.__version__))


def content_key(pictures: Sequence[Path | Image]) -> str:
    """What tells a list of photos from any other: the bytes of files, the pixels of images in memory."""
    return fingerprint(*(file_hash(each) if isinstance(each, Path) else content_hash(each) for each in pictures))
