"""What a request needs to know of the retained images, measured once, kept in a file, and used without them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from unsee.data import content_hash, open_image
from unsee.errors import InputError
from unsee.linalg.discriminant import Discriminant, fit_discriminant
from unsee.linalg.gram import Gram
from unsee.models.checkpoint import Vlm, visual_hash
from unsee.models.features import Inputs, all_features, in_batches, retained_moments, trainable_layers
from unsee.models.inputs import image_inputs
from unsee.records import Sample
from unsee.regions import Modes, RetainedFeatures, find_modes

FORMAT = "unsee-moments-1"
BATCH = 64
UNLABELLED_MODES = 32  # clusters that stand in for concepts where the retained images have none


@dataclass(frozen=True)
class MomentSettings:
    """How retained features are summarised."""

    modes: int
    seed: int


@dataclass(frozen=True, eq=False)
class Moments:
    """Grams per trained layer (layers with one input share one object) and a summary of the retained features."""

    grams: dict[str, Gram]
    features: RetainedFeatures
    count: int
    hashes: tuple[str, ...]
    model: str


@dataclass(frozen=True, eq=False)
class Photos:
    """Images ready for the model: inputs, reference features (n, tokens, width), concept numbers (n,) and names."""

    inputs: Inputs
    features: Tensor
    concept: Tensor
    names: tuple[str, ...]


def prepare(vlm: Vlm, samples: Sequence[Sample]) -> Photos:
    """Opens every image once and computes its reference features."""
    parts: list[Inputs] = []
    for start in range(0, len(samples), BATCH):
        chunk = [s.image for s in samples[start : start + BATCH]]
        parts.append(image_inputs(vlm, [open_image(image) for image in chunk if image is not None]))
    inputs = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    names = tuple(sorted({sample.concept for sample in samples}))
    number = {name: index for index, name in enumerate(names)}
    concept = torch.tensor([number[sample.concept] for sample in samples])
    return Photos(inputs, all_features(vlm.model, inputs), concept, names)


def _summary(photos: Photos, settings: MomentSettings) -> RetainedFeatures:
    features, concept = photos.features, photos.concept
    if len(photos.names) == 1:
        concept, _ = find_modes(features, concept, UNLABELLED_MODES, settings.seed)
    if len(concept.unique()) < 2:
        raise InputError(
            f"{len(features)} retained images are too few to tell what varies between them; give at least six, "
            "best of several concepts in one sub-folder each."
        )
    mean = features.mean(0)
    spread = float((features - mean).square().mean())
    _, modes = find_modes(features, concept, settings.modes, settings.seed)
    return RetainedFeatures(mean, spread, modes, fit_discriminant(features.flatten(1), concept))


def measure(vlm: Vlm, samples: Sequence[Sample], settings: MomentSettings) -> tuple[Moments, Photos]:
    """The moments of the retained samples, and the samples ready for training. Raises InputError for too few."""
    photos = prepare(vlm, samples)
    layers = trainable_layers(vlm.model, vlm.partition.linear, photos.inputs)
    grams = retained_moments(vlm.model, layers, in_batches(photos.inputs, BATCH))
    hashes = tuple(content_hash(open_image(s.image)) for s in samples if s.image is not None)
    return Moments(grams, _summary(photos, settings), len(samples), hashes, visual_hash(vlm)), photos


def save(moments: Moments, file: Path) -> None:
    """Writes a moments file (safetensors); whole or not at all."""
    first: dict[int, str] = {}
    for name, gram in moments.grams.items():
        first.setdefault(id(gram), name)
    tensors: dict[str, Tensor] = {}
    for name, gram in moments.grams.items():
        if first[id(gram)] == name:
            tensors |= {f"outer.{name}": gram.outer, f"total.{name}": gram.total}
    known, basis = moments.features, moments.features.discriminant
    tensors |= {"mean": known.mean, "centers": known.modes.centers, "owners": known.modes.concept}
    tensors |= {f"discriminant.{name}": value for name, value in vars(basis).items()}
    facts = {
        "layers": {name: [first[id(gram)], gram.count] for name, gram in moments.grams.items()},
        "spread": known.spread,
        "count": moments.count,
        "hashes": moments.hashes,
        "model": moments.model,
    }
    partial = file.with_name(f".{file.name}.writing")
    try:
        contiguous = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        save_file(contiguous, partial, metadata={"format": FORMAT, "facts": json.dumps(facts)})
        partial.replace(file)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise InputError(f"{file} could not be written ({error}); nothing was left there.") from error


def read(file: Path, vlm: Vlm) -> Moments:
    """Reads a moments file. Raises InputError where it is none, or was measured on another model than `vlm`."""
    try:
        with safe_open(file, framework="pt") as stored:
            metadata = stored.metadata() or {}
            names = list(stored.keys())
            tensors = {name: stored.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file} is not a moments file ({error}); make one with unsee moments.") from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{file} is not a moments file of this version ({FORMAT}); make one with unsee moments.")
    try:
        moments = _assembled(json.loads(metadata["facts"]), tensors)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{file} is not a moments file that is whole ({error}); make one with unsee moments."
        ) from error
    if moments.model != visual_hash(vlm):
        raise InputError(f"{file} was measured on another model than {vlm.folder}; run unsee moments on this one.")
    return moments


def _assembled(facts: dict[str, Any], tensors: Mapping[str, Tensor]) -> Moments:
    """The moments of what a file holds; KeyError, TypeError or ValueError where something is missing or misshapen."""
    shared: dict[str, Gram] = {}
    grams = {}
    for name, (source, count) in facts["layers"].items():
        if source not in shared:
            shared[source] = Gram(tensors[f"outer.{source}"], tensors[f"total.{source}"], count)
        grams[name] = shared[source]
    parts = {name.removeprefix("discriminant."): t for name, t in tensors.items() if name.startswith("discriminant.")}
    modes = Modes(tensors["centers"], tensors["owners"])
    features = RetainedFeatures(tensors["mean"], facts["spread"], modes, Discriminant(**parts))
    return Moments(grams, features, facts["count"], tuple(facts["hashes"]), facts["model"])
