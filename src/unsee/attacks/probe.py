"""Whether the target's concepts can still be told apart in the features, at every depth: hidden, or forgotten."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from unsee.attacks.attack import Point, Subject, needed, tally
from unsee.data import open_image
from unsee.errors import InputError
from unsee.models.checkpoint import Vlm
from unsee.models.features import depths, in_batches
from unsee.models.inputs import image_inputs
from unsee.models.outline import blocks, outline
from unsee.records import Sample

NEAREST, BATCH = 5, 64


@dataclass(frozen=True)
class Probe:
    """Logistic regression and nearest neighbours on the mean over tokens, learnt on photos that are shown.

    The floor is chance: one of the target's concepts. Source: linear probes (Alain and Bengio 2016).
    """

    name: ClassVar[str] = "probe"
    on_before: ClassVar[bool] = True

    def run(self, subject: Subject) -> Iterator[Point]:
        """Two budgets for each depth: the blocks of the encoder, then the features."""
        needed(subject.shown, "photos of the target to learn from", self.name)
        vlm = subject.open()
        known, unseen = _photos(subject.shown), _photos(subject.asked)
        names = [sample.concept for sample in known]
        if len(set(names)) < 2:
            raise InputError("the probe tells the target's concepts apart, and there is one; leave probe out.")
        learnt, tested = _depths(vlm, known), _depths(vlm, unseen)
        asked = [sample.concept for sample in unseen]
        floor = tally(asked, [1 / len(set(names))] * len(asked))
        for place, (given, new) in enumerate(zip(learnt, tested, strict=True)):
            label = "features" if place == len(learnt) - 1 else f"block {place}"
            for kind, probe in (
                ("linear", make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))),
                ("k-NN", make_pipeline(Normalizer(), KNeighborsClassifier(min(NEAREST, len(names))))),
            ):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ConvergenceWarning)  # it is near enough after so many rounds
                    said = probe.fit(given, names).predict(new)
                good = [float(found == name) for found, name in zip(said, asked, strict=True)]
                yield Point(f"{label}, {kind}", tally(asked, good), floor)


def _photos(samples: Sequence[Sample]) -> list[Sample]:
    return list({sample.picture: sample for sample in samples}.values())


@torch.no_grad()
def _depths(vlm: Vlm, samples: Sequence[Sample]) -> list[NDArray[np.float32]]:
    """What each depth gives of each image: (image, width). Raises InputError if blocks do not work by image."""
    inputs = [one for sample in samples for one in image_inputs(vlm.processor, [open_image(sample)])]
    inside = blocks(list(outline(vlm.outline, vlm.partition, inputs[0]).trained), vlm.outline)
    parts = []
    for batch in in_batches(inputs, BATCH):
        found = depths(vlm.model, inside, batch)
        if any(state.dim() != 3 or len(state) != len(batch) for state in found):
            raise InputError(f"the encoder in {vlm.folder} does not work image by image; leave probe out.")
        parts.append([state.float().mean(1).cpu() for state in found])
    return [torch.cat(states).numpy() for states in zip(*parts, strict=True)]
