"""MANU: the neurons that matter most to the target's answers, beside retained ones, are pruned; a baseline.

Source: Liu et al. 2025 (arXiv 2502.15910): four measures of importance, the ratio between both sides, the highest of it
pruned. How the four are joined, and which layers have neurons, are our reading.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Generator, Tensor

from unsee.data import open_image, validate
from unsee.errors import InputError, check_ranges
from unsee.forgetting.by_answers import AT_ONCE
from unsee.forgetting.edit import Edit, settings_of
from unsee.forgetting.training import Progress
from unsee.models.answers import answer_losses, check_language, say
from unsee.models.checkpoint import Vlm
from unsee.models.inputs import image_inputs
from unsee.models.outline import hooked
from unsee.models.scopes import scope_layers
from unsee.moments.records import Moments, MomentSettings, Photos
from unsee.records import Sample
from unsee.system.device import sums_on

MOST = 256  # retained photos that are looked at
ACTIVE = 0.1  # share of a layer's mean activity from which on a neuron counts as active


@dataclass(frozen=True)
class MANU:
    """Settings of the method."""

    scope: Literal["visual", "language", "all"] = "visual"
    """Which neurons are pruned."""
    prompt: str = "Who is this?"
    """Asked about every photo; the model's own answers follow it."""
    tokens: int = 16
    """Most tokens of an answer, 1 or more."""
    share: float = 0.02
    """Share of all neurons that is pruned, above 0 and at most 1."""

    name: ClassVar[str] = "manu"
    language: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        if self.scope not in ("visual", "language", "all"):
            raise InputError(f"scope is {self.scope!r}; expected visual, language or all: a projector has no neurons.")
        if not 0 < self.share <= 1:
            raise InputError(f"share is {self.share}; expected a share of the neurons above 0, and at most 1.")
        check_ranges(self, at_least_1=("tokens",))

    def moment_settings(self, seed: int) -> MomentSettings:
        """How retained features are summarised where a session keeps them."""
        return MomentSettings(modes=3, seed=seed)

    def forget(
        self,
        vlm: Vlm,
        target: Sequence[Sample],
        retained: Sequence[Sample] | Photos | None,
        *,
        moments: Moments | None = None,  # noqa: ARG002 # a baseline without them
        seed: int = 0,
        memory: str = "normal",  # noqa: ARG002 # the whole model is held
        state: Path | None = None,  # noqa: ARG002 # two passes are not resumed
        progress: Progress | None = None,
    ) -> Edit:
        """Prunes in one go; see `Method.forget`. Raises InputError without retained photos, or a layer with neurons."""
        started = time.monotonic()
        check_language(vlm)
        validate(target, "target")
        if isinstance(retained, Photos):
            raise InputError(f"{self.name} asks about the photos themselves; give them as samples.")
        if not retained:
            raise InputError(f"{self.name} needs retained photos in every request; give them.")
        validate(retained, "retained")
        modules, layers = dict(vlm.model.named_modules()), self._layers(vlm, target)
        places = torch.randperm(len(retained), generator=Generator().manual_seed(seed))[:MOST].tolist()
        own = self._activity(vlm, layers, target)
        kept = self._activity(vlm, layers, [retained[place] for place in places])
        scores = {name: score(own[name], kept[name]) for name in layers}
        every = torch.cat(list(scores.values()))
        count = max(1, round(self.share * len(every)))
        bound = every.topk(count).values[-1]
        after = {}
        for name in layers:
            weight = modules[name].weight.detach().clone()
            weight[:, scores[name] >= bound] = 0
            after[f"{name}.weight"] = weight.to("cpu", vlm.dtype_of(f"{name}.weight"))
        if progress is not None:
            progress(1, 1, f"{count} of {len(every)} neurons are pruned")
        return Edit(
            vlm=vlm,
            weights=after,
            method={
                "name": self.name,
                **settings_of(self),
                "neurons": len(every),
                "pruned": count,
                "counted_images": len(retained),
                "rounding_share": 0.0,
            },
            seed=seed,
            stopped=f"{count} of {len(every)} neurons were pruned",
            timings={"moments_s": 0.0, "forget_s": round(time.monotonic() - started, 2)},
            protected=tuple(name for name in after if name in vlm.partition.protected),
        )

    def _layers(self, vlm: Vlm, target: Sequence[Sample]) -> list[str]:
        """The layers of the scope that read neurons: those that narrow. Raises InputError where there is none."""
        modules = dict(vlm.model.named_modules())
        first = open_image(next(sample.image for sample in target if sample.image is not None))
        layers = [
            name
            for name in scope_layers(vlm, self.scope, image_inputs(vlm.processor, [first])[0])
            if modules[name].in_features > modules[name].out_features
        ]
        if not layers:
            raise InputError(
                f"{vlm.folder} has no layer that narrows in the scope {self.scope!r}; choose another method."
            )
        return layers

    @torch.no_grad()
    def _activity(self, vlm: Vlm, layers: Sequence[str], samples: Sequence[Sample]) -> dict[str, Tensor]:
        """What the neurons of each layer do while the own answers about these photos are read; see `importance`."""
        modules = dict(vlm.model.named_modules())
        where = sums_on(vlm.device)
        sums = {name: torch.zeros(5, modules[name].in_features, dtype=torch.float64, device=where) for name in layers}

        def adding(name: str) -> Callable[[Tensor], None]:
            def hook(entering: Tensor) -> None:
                flat = entering.reshape(-1, entering.shape[-1]).to(where).double()
                size = flat.abs()
                active = size > ACTIVE * size.mean()
                sums[name] += torch.stack(
                    [
                        torch.ones_like(flat[0]) * len(flat),
                        size.sum(0),
                        active.double().sum(0),
                        flat.sum(0),
                        flat.square().sum(0),
                    ]
                )

            return hook

        for start in range(0, len(samples), AT_ONCE):
            images = [
                open_image(sample.image) for sample in samples[start : start + AT_ONCE] if sample.image is not None
            ]
            asked = [(image, self.prompt) for image in images]
            answers = say(vlm, asked, self.tokens)
            with hooked((modules[name], adding(name)) for name in layers):
                answer_losses(vlm, asked, answers)
        return {name: importance(value) for name, value in sums.items()}


def importance(sums: Tensor) -> Tensor:
    """The four measures (4, neurons) of a layer, each by its mean over the neurons.

    They are the mean size of the activation, how often it is active, its standard deviation and its root mean square,
    from sums (5, neurons) over tokens: their number, sizes, active ones, values and squares.
    """
    count, sizes, active, values, squares = sums
    variance = (squares / count - (values / count).square()).clamp(min=0)
    measures = torch.stack([sizes / count, active / count, variance.sqrt(), (squares / count).sqrt()])
    return measures / measures.mean(1, keepdim=True).clamp(min=1e-12)


def score(target: Tensor, retained: Tensor) -> Tensor:
    """How much more neurons matter to the target than to retained photos: the ratio (neurons,) of the four's sums."""
    return target.sum(0) / (retained.sum(0) + 1e-6)
