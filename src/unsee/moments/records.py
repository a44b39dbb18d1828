"""What is known of retained images, and images ready for the model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from PIL.Image import Image
from torch import Tensor

from unsee.errors import InputError, check_ranges, check_seed
from unsee.linalg.anchor import Anchor
from unsee.linalg.discriminant import Scatter
from unsee.linalg.gram import Gram
from unsee.models.features import Features, Inputs
from unsee.moments.modes import RetainedFeatures
from unsee.moments.states import States
from unsee.moments.telling import Telling

AUTO: Final = "auto"  # instead of a number of runs, as READ is
READ: Final = "read"


@dataclass(frozen=True)
class MomentSettings:
    """How retained features are summarised.

    `crossings` are those that count, all where it is empty; `runs` those of tokens that are averaged, see `Layout`: 0
    for none, or vectors.RUNS where the number of tokens varies; READ for the directions that the language model reads.
    """

    modes: int
    seed: int
    crossings: tuple[str, ...] = ()
    runs: int | str = 0

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        check_ranges(self, at_least_1=("modes",))
        check_seed(self.seed)


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
    """Inputs whose outputs must not change either, by the same names; a Gram weighs as much as it counts."""
    anchors: Mapping[str, Anchor] = field(default_factory=dict)
    """By layer, what it gave for the guard's inputs when each was added; where there is none, that is what it gives."""
    unnamed: str = ""
    """What the model says of whom it does not know; empty where it was not asked, or has nothing to say of them."""
    states: States | None = None
    """What retained images put into the first block that is trained; None where it was not measured."""
    public: "Photos | None" = None
    """Photos of anybody, with reference features, that stand in for retained ones where there are none."""
    processor: tuple[float, ...] = ()
    """The `signature` of the processor that made numbers of the images; empty where a file does not say it."""
    telling: Telling | None = None
    """How well the description tells concepts apart; None where it was not measured now."""

    def check_layers(self, names: Iterable[str]) -> None:
        """Raises InputError where there is no Gram for one of these layers."""
        lacking = next((name for name in names if self.first[name] not in self.grams), None)
        if lacking is not None:
            raise InputError(
                f"the moments say nothing of {lacking}, which this method trains; measure them with --all-layers."
            )

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

    def only(self, places: Sequence[int]) -> "Photos":
        """The images at these places."""
        index = torch.tensor(list(places), dtype=torch.int64)
        return Photos(
            [self.inputs[i] for i in places],
            self.features[index],
            self.concept[index],
            self.names,
            tuple(self.hashes[i] for i in places),
            tuple(self.pictures[i] for i in places),
        )
