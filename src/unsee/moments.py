"""What a request needs to know of the retained images, measured once, kept in a file, and used without them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from PIL.Image import Image
from safetensors import SafetensorError
from torch import Tensor

from unsee.data import content_hash, open_image
from unsee.errors import InputError
from unsee.linalg.discriminant import Scatter, principal_directions, scatter
from unsee.linalg.gram import Gram, GramStream
from unsee.models.checkpoint import Vlm, visual_hash
from unsee.models.features import Features, Inputs, all_features, in_batches, visual_features
from unsee.models.inputs import check_tokens, image_inputs, tokens_vary
from unsee.models.outline import hooked, last_layers, outline
from unsee.records import Sample
from unsee.regions import WITHIN, Modes, RetainedFeatures, find_modes
from unsee.system.memory import Memory
from unsee.system.output import with_file
from unsee.system.tensors import TensorFile, form_of, opened, write
from unsee.vectors import RUNS, Layout, layout, spreads

FORMAT = "unsee-moments-5"
SCRATCH = "unsee-gram-1"
GUARD = "guard."  # before the names of a guard's tensors
LARGE_PARTS = ("outer.", "total.", GUARD)
BATCH = 64
UNLABELLED_MODES = 32  # clusters that stand in for concepts where retained images have none, or one each of their own
SINGLE = 1024  # width from which on Grams are stored in single precision: 1e-7 of them, a thousandth of any ridge
Note = Callable[[str, int, int], None]


@dataclass(frozen=True)
class MomentSettings:
    """How retained features are summarised.

    `crossings` are those that count, all where it is empty; `runs` those of tokens that are averaged, see `Layout`: 0
    for none, or vectors.RUNS where the number of tokens varies.
    """

    modes: int
    seed: int
    crossings: tuple[str, ...] = ()
    runs: int = 0


@dataclass(frozen=True, eq=False)
class Moments:
    """What retained images put into each trained layer, and a summary of their features.

    `first` names for each layer the one whose Gram in `grams` it shares, because both read the same tensors. `scatter`
    is what the features' discriminant comes from, `hashes` and `concept` (n,) int64 are of each image.
    """

    grams: Mapping[str, Gram]
    first: Mapping[str, str]
    features: RetainedFeatures
    scatter: Scatter
    hashes: tuple[str, ...]
    concept: Tensor
    model: str
    guard: Mapping[str, Gram] = field(default_factory=dict)
    """What else must stay where it is, by the same names, as heavy as it counts; see `unsee.losses.moved`."""

    @property
    def count(self) -> int:
        """Of the retained images."""
        return len(self.hashes)


@dataclass(frozen=True, eq=False)
class Photos:
    """Images ready for the model: inputs, reference features, concept numbers (n,), their names, and content hashes.

    `pictures` are the images themselves, or where they are.
    """

    inputs: list[Inputs]
    features: Features
    concept: Tensor
    names: tuple[str, ...]
    hashes: tuple[str, ...]
    pictures: tuple[Path | Image, ...]


class Cipher(Protocol):
    """Makes the tensors of a guard unreadable, and readable again."""

    def encrypt(self, name: str, content: bytes) -> bytes: ...
    def decrypt(self, name: str, content: bytes) -> bytes: ...


class StoredGrams(Mapping[str, Gram]):
    """Grams that wait on the disk: each is read when it is asked for and not kept."""

    def __init__(
        self, places: Mapping[str, tuple[TensorFile, float]], prefix: str = "", cipher: Cipher | None = None
    ) -> None:
        """`places` are each Gram's file and how many vectors it counted; `prefix` stands before its names."""
        self._places, self._prefix, self._cipher = dict(places), prefix, cipher

    def __getitem__(self, name: str) -> Gram:
        stored, count = self._places[name]
        names = [f"{self._prefix}{part}.{name}" for part in ("outer", "total")]
        tensors = stored.read(names)
        outer, total = (tensors[part] for part in names)
        if outer.dtype == torch.uint8:
            if self._cipher is None:
                raise InputError(f"the guard in {stored.file} is encrypted; give the session's secret with --secret.")
            total = _clear(self._cipher, names[1], total, torch.float64)
            outer = _clear(self._cipher, names[0], outer, _kept(len(total)))
        return Gram(_square(outer.double(), len(total)), total, count)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _triangle(outer: Tensor) -> Tensor:
    """The upper triangle of a symmetric matrix, row by row."""
    width = len(outer)
    return torch.cat([outer[row, row:] for row in range(width)]).to(_kept(width))


def _kept(width: int) -> torch.dtype:
    """In which precision a Gram of this width is stored."""
    return torch.float32 if width >= SINGLE else torch.float64


def _square(packed: Tensor, width: int) -> Tensor:
    """The symmetric matrix of an upper triangle."""
    whole, start = packed.new_zeros(width, width), 0
    for row in range(width):
        whole[row, row:] = packed[start : start + width - row]
        start += width - row
    return whole + whole.triu(1).T


def _tensors(name: str, gram: Gram, prefix: str = "") -> dict[str, Tensor]:
    return {f"{prefix}outer.{name}": _triangle(gram.outer), f"{prefix}total.{name}": gram.total}


def _hidden(cipher: Cipher, name: str, tensor: Tensor) -> Tensor:
    """The bytes of a tensor, encrypted: (n,) uint8."""
    content = tensor.contiguous().view(torch.uint8).numpy().tobytes()
    return torch.frombuffer(bytearray(cipher.encrypt(name, content)), dtype=torch.uint8)


def _clear(cipher: Cipher, name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.frombuffer(bytearray(cipher.decrypt(name, tensor.numpy().tobytes())), dtype=dtype)


def prepare(vlm: Vlm, samples: Sequence[Sample], batch: int) -> Photos:
    """Opens and hashes every image and computes its reference features, `batch` images at a time."""
    inputs: list[Inputs] = []
    hashes: list[str] = []
    pictures = [sample.image for sample in samples if sample.image is not None]
    for picture in pictures:
        image = open_image(picture)
        hashes.append(content_hash(image))
        inputs += image_inputs(vlm.processor, [image])
    names = tuple(sorted({sample.concept for sample in samples}))
    number = {name: index for index, name in enumerate(names)}
    concept = torch.tensor([number[sample.concept] for sample in samples])
    features = all_features(vlm.model, inputs, batch)
    check_tokens(vlm, open_image(pictures[0]), features)
    return Photos(inputs, features, concept, names, tuple(hashes), tuple(pictures))


def _summary(photos: Photos, settings: MomentSettings, runs: int) -> tuple[RetainedFeatures, Scatter, Tensor]:
    """The summary of the features, what its discriminant comes from, and each image's concept (n,)."""
    features, concept = photos.features.only(settings.crossings), photos.concept
    spread = spreads(features)
    how = layout(features, spread, runs)
    vectors = how.vectors(features)
    if len(photos.names) in (1, len(concept)):  # no two photos say what varies within a concept
        concept, _ = find_modes(vectors, torch.zeros_like(concept), UNLABELLED_MODES, settings.seed)
    if len(concept.unique()) < 2:
        raise InputError(
            f"{len(features)} retained images are too few to tell what varies between them; give at least six, "
            "best of several concepts in one sub-folder each."
        )
    member, modes = find_modes(vectors, concept, settings.modes, settings.seed)
    found = scatter(vectors, concept)
    within = principal_directions((vectors - modes.centers[member]).double(), WITHIN).float()
    return RetainedFeatures(how, spread, vectors.mean(0), modes, within, found.discriminant()), found, concept


def _passes(widths: Mapping[str, int], most: int) -> Iterator[list[str]]:
    """The layers in groups whose Grams have together at most so many numbers; one layer at least."""
    group: list[str] = []
    for name, width in widths.items():
        if group and sum(widths[other] ** 2 for other in group) + width**2 > most:
            yield group
            group = []
        group.append(name)
    yield group


@torch.no_grad()
def retained_grams(
    vlm: Vlm, images: Sequence[Inputs], layers: Sequence[str], memory: Memory, scratch: Path | None = None
) -> Mapping[str, Gram]:
    """The Gram of what the images put into each of these linear layers; kept in files of the folder `scratch` if given.

    Each pass over the images sums up as many layers as the memory allows.
    """
    modules = dict(vlm.model.named_modules())
    kept: dict[str, Gram] = {}
    places: dict[str, tuple[TensorFile, float]] = {}
    for group in _passes({name: modules[name].in_features for name in layers}, memory.grams):
        streams = {name: GramStream(modules[name].in_features) for name in group}
        with hooked((modules[name], stream.update) for name, stream in streams.items()):
            for batch in in_batches(images, min(BATCH, memory.images)):
                visual_features(vlm.model, batch)
        for name in group:
            gram = streams.pop(name).gram
            if scratch is None:
                kept[name] = gram
                continue
            file = scratch / f"gram_{len(places)}.safetensors"
            try:
                write(file, _tensors(name, gram), SCRATCH, {})
            except (OSError, SafetensorError) as error:
                raise InputError(f"{scratch} cannot hold the moments ({error}); free some disk.") from error
            places[name] = (opened(file, SCRATCH), gram.count)
    return kept if scratch is None else StoredGrams(places)


def measure(
    vlm: Vlm,
    samples: Sequence[Sample],
    settings: MomentSettings,
    memory: Memory,
    scratch: Path | None = None,
    *,
    share: float = 1.0,
) -> tuple[Moments, Photos]:
    """The moments of the retained samples, and the samples ready for training.

    Grams are those of so large a `share` of the layers as `last_layers` takes; for the others there is none, which
    saves most of the time where only some are trained. Raises InputError for too few samples.
    """
    photos = prepare(vlm, samples, min(BATCH, memory.images))
    summary, found, concept = _summary(photos, settings, settings.runs or (RUNS if tokens_vary(vlm.processor) else 0))
    routes = outline(vlm.outline, vlm.partition, photos.inputs[0], settings.crossings)
    trained = last_layers(list(routes.first), len(summary.layout.shapes), share)
    layers = list(dict.fromkeys(routes.first[name] for name in trained))
    grams = retained_grams(vlm, photos.inputs, layers, memory, scratch)
    return Moments(grams, routes.first, summary, found, photos.hashes, concept, visual_hash(vlm)), photos


def is_moments(file: Path) -> bool:
    """Whether a file holds moments, of this version or another."""
    return form_of(file).startswith("unsee-moments-")


def save(
    moments: Moments,
    file: Path,
    guard: Mapping[str, Gram] | None = None,
    *,
    cipher: Cipher | None = None,
    overwrite: bool = True,
) -> None:
    """Writes a moments file (safetensors), with the Grams of a guard if given; whole or not at all.

    With a `cipher` the guard is encrypted. Raises InputError where the disk refuses, or `file` exists and is no moments
    file, or `overwrite` is false.
    """
    tensors: dict[str, Tensor] = {}
    counts, guarded = dict[str, float](), dict[str, float]()
    for name, gram in moments.grams.items():
        tensors |= _tensors(name, gram)
        counts[name] = gram.count
    for name, gram in (guard or {}).items():
        plain = _tensors(name, gram, GUARD)
        tensors |= plain if cipher is None else {part: _hidden(cipher, part, value) for part, value in plain.items()}
        guarded[name] = gram.count
    known = moments.features
    tensors |= {
        "mean": known.mean,
        "centers": known.modes.centers,
        "owners": known.modes.concept,
        "within": known.within,
    }
    tensors |= {"concept": moments.concept, **{f"scatter.{n}": value for n, value in vars(moments.scatter).items()}}
    facts = {
        "layers": {name: [first, counts[first]] for name, first in moments.first.items()},
        "layout": asdict(known.layout),
        "spread": known.spread,
        "hashes": moments.hashes,
        "model": moments.model,
        "guard": guarded,
    }
    with_file(file, lambda part: write(part, tensors, FORMAT, facts), overwrite=overwrite, mine=is_moments)


def read(file: Path, vlm: Vlm) -> Moments:
    """Opens a moments file; Grams are read from it when they are needed.

    Raises InputError where it is none, or was measured on another model than `vlm`.
    """
    return read_guarded(file, vlm)[0]


def read_guarded(file: Path, vlm: Vlm, cipher: Cipher | None = None) -> tuple[Moments, Mapping[str, Gram]]:
    """As `read`, with the Grams of the guard; an encrypted one can be read with its `cipher` alone."""
    try:
        stored = opened(file, FORMAT)
        small = stored.read(name for name in stored.sums if not name.startswith(LARGE_PARTS))
        moments = _assembled(stored, small)
        counts = {name: (stored, float(count)) for name, count in stored.facts["guard"].items()}
        guard = StoredGrams(counts, GUARD, cipher)
    except InputError:  # a sentence already, and a ValueError too
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{file} is not a moments file of this version that is whole ({error}); make one with unsee moments."
        ) from error
    if moments.model != visual_hash(vlm):
        raise InputError(f"{file} was measured on another model than {vlm.folder}; run unsee moments on this one.")
    return moments, guard


def _assembled(stored: TensorFile, small: Mapping[str, Tensor]) -> Moments:
    """The moments of what a file holds; KeyError, TypeError or ValueError where something is missing or misshapen."""
    places, facts = {}, stored.facts
    for source, count in facts["layers"].values():
        if not {f"outer.{source}", f"total.{source}"} <= stored.sums.keys():
            raise KeyError(f"outer.{source}")
        places[source] = (stored, float(count))
    found = Scatter(**{name.removeprefix("scatter."): t for name, t in small.items() if name.startswith("scatter.")})
    how = facts["layout"]
    shapes = {name: (int(tokens), int(width)) for name, (tokens, width) in how["shapes"].items()}
    features = RetainedFeatures(
        layout=Layout(shapes, how["scales"], how["pooled"]),
        spread=facts["spread"],
        mean=small["mean"],
        modes=Modes(small["centers"], small["owners"]),
        within=small["within"],
        discriminant=found.discriminant(),
    )
    first = {name: source for name, (source, _) in facts["layers"].items()}
    return Moments(
        StoredGrams(places), first, features, found, tuple(facts["hashes"]), small["concept"], facts["model"]
    )
