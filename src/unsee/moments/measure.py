"""What a request needs to know of the retained images, measured once, kept in a file, and used without them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from math import gcd
from pathlib import Path

import torch
from PIL.Image import Image
from safetensors import SafetensorError
from torch import Tensor
from transformers import ProcessorMixin

from unsee.data import open_image
from unsee.data.similar import Look
from unsee.data.workers import each_made
from unsee.errors import InputError
from unsee.linalg.discriminant import Scatter, principal_directions, scatter, summed_up
from unsee.linalg.gram import Gram, GramStream
from unsee.models.checkpoint import Vlm, visual_hash
from unsee.models.features import Inputs, all_features, in_batches, visual_features
from unsee.models.foreign import in_words
from unsee.models.inputs import check_tokens, signature, tokens_vary
from unsee.models.outline import SHARE, hooked, last_layers, outline
from unsee.moments.cache import Cache, cache_of, content_key
from unsee.moments.file import SCRATCH, StoredGrams, _tensors
from unsee.moments.modes import WITHIN, RetainedFeatures, find_modes
from unsee.moments.reading import Reader, read_directions
from unsee.moments.records import READ, Moments, MomentSettings, Photos
from unsee.moments.states import retained_states
from unsee.moments.stream import batches, held
from unsee.moments.stream import opened as opened_photo
from unsee.moments.telling import Telling, cross_validated
from unsee.moments.unfinished import Sums, Unfinished, photos_key
from unsee.moments.vectors import RUNS, Layout, layout, spreads
from unsee.records import Sample
from unsee.system.device import in_room, sums_on
from unsee.system.disk import workspace
from unsee.system.memory import Memory, give_back
from unsee.system.processes import count, gathered, own, summed
from unsee.system.progress import steps
from unsee.system.tensors import TensorFile, fingerprint, opened, write

BATCH = 64
UNLABELLED_MODES = 32  # clusters that stand in for concepts where retained images have none, or one each of their own
READ_PHOTOS, DIRECTIONS = 512, 256  # retained photos whose answers' slopes are taken, and directions kept of them
MOST_LOSS = 1e3  # nats that are as bad as any
NEGLIGIBLE = 1e-3  # nats by which another description must be better to be taken
FEWEST = 64  # photos that are held whatever the memory
ENOUGH = 512  # tokens for each input of a layer; of more a share is taken
DESCRIBED = 2048  # photos that say what features are like, where that is all they are held for
Note = Callable[[str, int, int], None]


def prepare(
    vlm: Vlm, samples: Sequence[Sample], batch: int, cache: Cache | None = None, looks: dict[str, Look] | None = None
) -> Photos:
    """Opens and hashes every image and computes its reference features, `batch` images at a time.

    Features that the cache has are taken from there, and others are kept there. How each image looks goes into `looks`,
    by its hash.
    """
    inputs: list[Inputs] = []
    hashes: list[str] = []
    made = dict[str, Inputs]()  # copies of one photo share what the processor makes of it
    pictures = [sample.image for sample in samples if sample.image is not None]
    opening = each_made(pictures, partial(opened_photo, vlm.processor, looked=looks is not None))
    for photo in steps("reading photos", opening, len(pictures)):
        hashes.append(photo.digest)
        if looks is not None and photo.seen is not None:
            looks.setdefault(photo.digest, photo.seen)
        inputs.append(made.setdefault(photo.digest, photo.inputs))
    names = tuple(sorted({sample.concept for sample in samples}))
    number = {name: index for index, name in enumerate(names)}
    concept = torch.tensor([number[sample.concept] for sample in samples])
    known = None if cache is None else cache.features(hashes)
    with in_words(f"the visual part of {vlm.folder} takes no photo", "copy the checkpoint here again"):
        features = all_features(vlm.model, inputs, batch) if known is None else known
    if not all(torch.isfinite(value).all() for value in features.values.values()):
        raise InputError(f"the visual part of {vlm.folder} makes NaN or Inf of photos; copy the checkpoint here again.")
    check_tokens(vlm, open_image(pictures[0]), features)
    if cache is not None and known is None:
        cache.keep_features(hashes, features)
    return Photos(inputs, features, concept, names, tuple(hashes), tuple(pictures))


def _layouts(
    photos: Photos, spread: dict[str, float], settings: MomentSettings, *, vary: bool, reader: Reader | None
) -> list[Layout]:
    """The descriptions to choose from: what the language model reads, or where it is not asked, means over tokens."""
    features, runs = photos.features.only(settings.crossings), settings.runs
    every = RUNS if vary else 0
    if isinstance(runs, int):
        return [layout(features, spread, runs or every)]
    if reader is not None:
        whole = layout(features, spread, every)
        asked = photos.pictures[:: -(-len(photos.pictures) // READ_PHOTOS)]
        slopes = reader.slopes(asked, whole, settings.seed)
        return [replace(whole, basis=read_directions(slopes, DIRECTIONS))]
    if runs == READ:
        raise InputError("--runs read needs the language model, which is not asked here; choose a number of runs.")
    return [layout(features, spread, number) for number in dict.fromkeys((1, RUNS, every))]


def _summary(
    photos: Photos,
    settings: MomentSettings,
    layouts: Sequence[Layout],
    spread: dict[str, float],
    like: Moments | None = None,
) -> tuple[RetainedFeatures, Scatter, Tensor, Telling]:
    """The summary of the features, what its discriminant comes from, each image's concept (n,), and how well it tells.

    The description is the one that tells concepts apart best.
    """
    features, concept = photos.features.only(settings.crossings), photos.concept
    if len(photos.names) in (1, len(concept)):  # no two photos say what varies within a concept
        vectors = layouts[0].vectors(features)
        concept, _ = find_modes(vectors, torch.zeros_like(concept), UNLABELLED_MODES, settings.seed)
    if len(concept.unique()) < 2:
        raise InputError(
            f"{len(features)} retained images are too few to tell what varies between them; give at least six, "
            "best of several concepts in one sub-folder each."
        )
    told = list[tuple[Telling, Layout, Scatter, Tensor]]()
    for how in layouts:
        vectors = how.vectors(features)
        found = scatter(vectors, concept)
        if not len(found.basis):
            raise InputError(
                f"all {len(features)} retained photos are the same to the visual part of the model; give different "
                "ones, or copy the checkpoint here again if they are."
            )
        told.append((cross_validated(found, vectors, concept), how, found, vectors))
    telling, how, found, vectors = min(
        told, key=lambda one: round(min(one[0].loss, MOST_LOSS) / NEGLIGIBLE)
    )  # the first of equals
    found = replace(found, ridge=torch.tensor(telling.ridge, dtype=torch.float64))
    member, modes = find_modes(vectors, concept, settings.modes, settings.seed)
    within = principal_directions((vectors - modes.centers[member]).double(), WITHIN).float()
    if like is not None:
        found, within = summed_up(like.scatter, vectors, concept), like.features.within
    summary = RetainedFeatures(how, spread, vectors.mean(0), modes, within, found.discriminant())
    return summary, found, concept, telling


@contextmanager
def waiting_place(bounds: Memory, place: Path, name: str) -> Iterator[Path | None]:
    """Gives a folder of its own in `place` where Grams wait on large models; None where the memory holds them all."""
    if not bounds.frugal:
        yield None
        return
    give_back()
    with workspace(place, name) as folder:
        yield folder


def _passes(widths: Mapping[str, int], most: int) -> Iterator[list[str]]:
    """The layers in groups whose Grams have together at most so many numbers; one layer at least."""
    group: list[str] = []
    for name, width in widths.items():
        if group and sum(widths[other] ** 2 for other in group) + width**2 > most:
            yield group
            group = []
        group.append(name)
    yield group


@dataclass(frozen=True, eq=False)
class Stream:
    """Photos that are opened anew in every pass; `hashes` has what each shows, once a pass was made."""

    processor: ProcessorMixin
    pictures: Sequence[Path | Image]
    hashes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.pictures)

    def batches(self, size: int, sums: Sums | None = None) -> Iterator[list[Inputs]]:
        """This process's share of the photos in their order, so many at once; without those that `sums` has counted."""
        found = [] if sums is None else sums.resume()
        for batch in batches(self.processor, own(self.pictures)[len(found) :], size):
            found += [photo.digest for photo in batch]
            yield [photo.inputs for photo in batch]
            if sums is not None:
                sums.keep(found)
        self.hashes[:] = gathered(found)


@torch.no_grad()
def retained_grams(
    vlm: Vlm,
    images: Sequence[Inputs] | Stream,
    layers: Sequence[str],
    memory: Memory,
    scratch: Path | None = None,
    every: Mapping[str, int] | None = None,
    unfinished: Unfinished | None = None,
) -> Mapping[str, Gram]:
    """The Gram of what the images put into each of these linear layers; kept in files of the folder `scratch` if given.

    Each pass over the images sums up as many layers as the memory allows. Several processes do a share of the images
    each, and all have the sums. `every` says for a layer that only every so-manieth token counts. Of a stream, sums are
    kept as `unfinished` while they are made.
    """
    modules = dict(vlm.model.named_modules())
    kept: dict[str, Gram] = {}
    thinned = {} if every is None else every
    places: dict[str, tuple[TensorFile, float]] = {}
    for number, group in enumerate(_passes({name: modules[name].in_features for name in layers}, memory.grams)):

        def added(size: int, number: int = number, group: list[str] = group) -> dict[str, GramStream]:
            sums, widths = sums_on(vlm.device), {name: modules[name].in_features for name in group}
            streams = {name: GramStream(width, sums, thinned.get(name, 1)) for name, width in widths.items()}
            with hooked((modules[name], stream.update) for name, stream in streams.items()):
                parts: Iterator[Sequence[Inputs]]
                if isinstance(images, Stream):
                    parts = images.batches(size, None if unfinished is None else unfinished.of(number, streams))
                else:
                    parts = in_batches(own(images), size)
                for batch in steps(f"measuring {len(group)} layers", parts, -(-len(images) // (size * count()))):
                    visual_features(vlm.model, batch)
            return streams

        streams = in_room(added, min(BATCH, memory.images))
        for stream in streams.values():
            stream.reduce(summed)
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


def _cached_grams(
    cache: Cache | None,
    vlm: Vlm,
    images: Sequence[Inputs] | Stream,
    pictures: Sequence[Path | Image],
    layers: Sequence[str],
    memory: Memory,
    scratch: Path | None,
    every: Mapping[str, int] | None,
    unfinished: Unfinished | None,
) -> Mapping[str, Gram]:
    """As `retained_grams`; those that the cache has are taken from there, and the others are kept there."""
    if cache is None:
        return retained_grams(vlm, images, layers, memory, scratch, every, unfinished)
    photos, thinned = content_key(pictures), every or {}
    found = cache.grams(photos, layers, thinned)
    if isinstance(images, Stream):
        hashes = cache.hashes(photos)
        found = StoredGrams({}) if hashes is None else found
        images.hashes[:] = hashes or []
    left = [name for name in layers if name not in found]
    made = retained_grams(vlm, images, left, memory, scratch, every, unfinished) if left else {}
    for name in left:
        cache.keep_gram(photos, name, thinned, made[name])
    if left and isinstance(images, Stream):
        cache.keep_hashes(photos, images.hashes)
    if isinstance(made, StoredGrams):
        return found | made
    return {name: made[name] if name in made else found[name] for name in layers}


def measure(
    vlm: Vlm,
    samples: Sequence[Sample],
    settings: MomentSettings,
    memory: Memory,
    scratch: Path | None = None,
    *,
    share: float = 1.0,
    reader: Reader | None = None,
    alone: bool = False,
    exact: bool = False,
    like: Moments | None = None,
    state: Path | None = None,
) -> tuple[Moments, Photos]:
    """The moments of the retained samples, and those ready for training that the memory holds.

    All count in the Grams. What describes features comes from those that are held, some of each concept. Grams are
    those of so large a `share` of the layers as `last_layers` takes; for the others there is none, which saves most of
    the time where only some are trained. A `reader` says what the language model reads. Moments that must do `alone`,
    without photos, have states too. `like` other moments of the same model, features are described as these describe
    them, so that both can be merged.

    Where not all are held, a share of their tokens says what enters a layer, at least ENOUGH for each of its inputs;
    not where sums are to be `exact`, so that photos can be taken out of them exactly. With `state`, a file, a killed
    run goes on among them where it was. Raises InputError for too few samples, and for one that cannot be used.
    """
    pictured = [sample for sample in samples if sample.image is not None]
    if not pictured:
        raise InputError("the retained set holds no image; expected at least one, so add photos to it.")
    chosen = _places(vlm, pictured, memory, alone=alone)
    cache = cache_of(vlm)
    photos = prepare(vlm, [pictured[place] for place in chosen], min(BATCH, memory.images), cache)
    if like is None:
        spread = spreads(photos.features.only(settings.crossings))
        differ = any(len(counts.unique()) > 1 for counts in photos.features.counts.values())
        layouts = _layouts(photos, spread, settings, vary=differ or tokens_vary(vlm.processor), reader=reader)
    else:
        spread, layouts = like.features.spread, [like.features.layout]
    summary, found, concept, telling = _summary(photos, settings, layouts, spread, like)
    routes = outline(vlm.outline, vlm.partition, photos.inputs[0], settings.crossings)
    trained = last_layers(list(routes.first), len(summary.layout.shapes), share)
    layers = list(dict.fromkeys(routes.first[name] for name in trained))
    pictures = [sample.image for sample in pictured if sample.image is not None]
    every = photos.inputs if len(chosen) == len(pictured) else Stream(vlm.processor, pictures)
    thinned = None if exact or every is photos.inputs else _thinned(vlm, layers, photos.inputs[0], len(pictures))
    unfinished = None
    if state is not None and isinstance(every, Stream):
        parts = (visual_hash(vlm), str(settings), str(count()), str(thinned), photos_key(pictures))
        unfinished = Unfinished(state, fingerprint(*parts))
    grams = _cached_grams(cache, vlm, every, pictures, layers, memory, scratch, thinned, unfinished)
    hashes = tuple(every.hashes) if isinstance(every, Stream) else photos.hashes
    states = None
    if alone:
        first = last_layers(list(routes.first), len(summary.layout.shapes), SHARE)[0]
        known = None if like is None else like.states
        states = retained_states(vlm.model, first, photos.inputs, concept, memory.images, known)
        states = None if states is None else replace(states, concept=_spread(states.concept, chosen, len(pictured)))
    return Moments(
        grams, routes.first, summary, found, hashes, _spread(concept, chosen, len(pictured)), visual_hash(vlm),
        states=states, processor=signature(vlm.processor), telling=telling,
    ), photos  # fmt: skip


def prepared(vlm: Vlm, samples: Sequence[Sample], memory: Memory) -> Photos:
    """As `prepare`, those photos that the memory holds ready; some of each concept where that is not all."""
    pictured = [sample for sample in samples if sample.image is not None]
    held_ready = [pictured[place] for place in _places(vlm, pictured, memory, alone=False)]
    return prepare(vlm, held_ready, memory.images, cache_of(vlm))


def _places(vlm: Vlm, samples: Sequence[Sample], memory: Memory, *, alone: bool) -> list[int]:
    """Places of the photos that the memory holds ready, at least FEWEST; at most DESCRIBED if none is trained on."""
    first = [opened_photo(vlm.processor, sample.image).inputs for sample in samples[:1] if sample.image is not None]
    features = all_features(vlm.model, first)
    single = sum(value.nbytes for value in (*first[0].values(), *features.values.values()))
    most = max(FEWEST, memory.photos // single)
    return held([sample.concept for sample in samples], min(most, DESCRIBED) if alone else most)


@torch.no_grad()
def _thinned(vlm: Vlm, layers: Sequence[str], image: Inputs, images: int) -> dict[str, int]:
    """By layer, with which step the tokens of so many images may be counted, so that there are still ENOUGH.

    The steps share no divisor with an image's number of tokens, so that every place of an image comes up.
    """
    modules, tokens = dict(vlm.model.named_modules()), dict[str, int]()

    def counted(name: str) -> Callable[[Tensor], None]:
        return lambda given: tokens.__setitem__(name, given.shape[:-1].numel())

    with hooked((modules[name], counted(name)) for name in layers):
        visual_features(vlm.model, [image])
    found = dict[str, int]()
    for name in layers:
        own = tokens[name]
        most = max(1, own * images // (ENOUGH * modules[name].in_features))
        found[name] = next(step for step in range(most, 0, -1) if gcd(step, own) == 1)
    return found


def _spread(concept: Tensor, places: Sequence[int], count: int) -> Tensor:
    """(count,) int64: the concepts at these places, and -1 elsewhere."""
    whole = torch.full((count,), -1)
    whole[list(places)] = concept
    return whole
