"""The one training loop: a null-space step, a look every few steps, an early stop, and a state to resume from."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from unsee.errors import InputError
from unsee.linalg.subspace import ConfinedWeight
from unsee.system.disk import is_plain, is_there
from unsee.system.output import with_file
from unsee.system.tensors import opened, write

Loss = Callable[[Generator], Iterable[Tensor]]  # parts whose sum is the loss; each is let go before the next is made
Look = Callable[[], dict[str, float]]
Progress = Callable[[int, int, str], None]
STATE = "unsee-training-1"  # format of a saved state
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of a weight


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. The rate warms up over 5 % of the steps and falls to zero along a cosine."""

    steps: int
    rate: float
    weight_decay: float
    look_every: int


@dataclass(frozen=True)
class Bars:
    """When a run may stop early: every measured value of these names at or below its bound."""

    at_most: Mapping[str, float]

    def reached(self, looks: Mapping[str, float]) -> bool:
        return all(name in looks and looks[name] <= bound for name, bound in self.at_most.items())

    def describe(self, looks: Mapping[str, float]) -> str:
        return ", ".join(f"{name} {looks[name]:.3g} (bound {bound:.3g})" for name, bound in self.at_most.items())


@dataclass(frozen=True)
class TrainingLog:
    """How a run went: steps made, why it stopped, and the values at every look."""

    steps: int
    stopped: str
    looks: list[dict[str, float]] = field(default_factory=list)


@contextmanager
def recomputed(model: PreTrainedModel) -> Iterator[None]:
    """While open, the layers compute their activations again in the backward pass, which saves their memory."""
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    try:
        for layer in layers:
            # The layer alone is told that it trains: what it holds, dropout for one, is not.
            layer.gradient_checkpointing = layer.training = True
            vars(layer)["_gradient_checkpointing_func"] = partial(checkpoint, use_reentrant=False)
        yield
    finally:
        for layer in layers:
            layer.gradient_checkpointing = layer.training = False


@contextmanager
def restored(weights: Sequence[Tensor]) -> Iterator[None]:
    """While open, the weights may be changed; then they have the values of before again."""
    now = [weight.detach().clone() for weight in weights]
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, value in zip(weights, now, strict=True):
                weight.copy_(value)


@contextmanager
def moving(weights: Mapping[str, ConfinedWeight]) -> Iterator[None]:
    """While open, the weights require gradient; then they are what they were at the start, and frozen."""
    try:
        for weight in weights.values():
            weight.weight.requires_grad_(True)
        yield
    finally:
        for weight in weights.values():
            weight.restore()
            weight.weight.requires_grad_(False)
            weight.weight.grad = None


def fingerprint(*parts: str) -> str:
    """SHA-256 over the parts; ties a saved state to the settings and the data it belongs to."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _save(
    file: Path,
    key: str,
    log: TrainingLog,
    weights: Mapping[str, ConfinedWeight],
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> None:
    tensors: dict[str, Tensor] = {}
    for name, weight in weights.items():
        tensors[f"weight.{name}"] = weight.weight.detach()
        (own,) = optimizers[name].state_dict()["state"].values()
        tensors |= {f"{part}.{name}": value for part, value in own.items()}
    facts = {"key": key, "step": log.steps, "looks": log.looks}

    def fill(part: Path) -> None:
        write(part, tensors, STATE, facts)
        part.chmod(0o600)  # nearly the photos' features

    with_file(file, fill)


def _restore(
    file: Path, key: str, weights: Mapping[str, ConfinedWeight], optimizers: Mapping[str, torch.optim.Optimizer]
) -> TrainingLog:
    try:
        if not is_plain(file):
            raise ValueError("it is a link, or no file")  # noqa: TRY301 # every way of being wrong is one
        saved = opened(file, STATE)
        if saved.facts["key"] == key:
            tensors = saved.read(saved.sums)
            for name, weight in weights.items():
                weight.weight.data.copy_(tensors[f"weight.{name}"])
                own = {part: tensors[f"{part}.{name}"] for part in MOMENTS}
                whole = optimizers[name].state_dict()
                optimizers[name].load_state_dict({**whole, "state": {0: own}})
            return TrainingLog(saved.facts["step"], "", saved.facts["looks"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} cannot be read ({error}); remove it, or run without --resume.") from error
    raise InputError(
        f"{file} belongs to a run with other settings, photos or model; give the same ones or remove the file."
    )


def train(
    weights: Mapping[str, ConfinedWeight],
    loss: Loss,
    look: Look,
    bars: Bars,
    schedule: Schedule,
    *,
    seed: int,
    state: Path | None = None,
    key: str = "",
    progress: Progress | None = None,
) -> TrainingLog:
    """Moves `weights` down `loss` with AdamW, each within its span and by an optimizer of its own.

    `loss` draws its batch from the generator it is given, which depends on the seed and the step alone, so that a run
    resumed from `state` makes the same steps as one that was never interrupted. `look` measures the run every few
    steps; it stops when `bars` are reached.
    """
    # Decay is the weight's own; one optimizer a weight, so that the steps of all are never held at once.
    optimizers = {name: torch.optim.AdamW([w.free], weight_decay=0.0) for name, w in weights.items()}
    log = TrainingLog(0, "")
    if state is not None and is_there(state):
        log = _restore(state, key, weights, optimizers)
    looks = list(log.looks)
    if looks and bars.reached(looks[-1]):
        return TrainingLog(log.steps, f"every bound was reached: {bars.describe(looks[-1])}", looks)
    for step in range(log.steps, schedule.steps):
        warm = min(1.0, (step + 1) / max(1.0, 0.05 * schedule.steps))
        rate = schedule.rate * warm * (0.5 + 0.5 * math.cos(math.pi * step / schedule.steps))
        for part in loss(Generator().manual_seed(seed * 1_000_003 + step)):
            part.backward()
        for name, weight in weights.items():
            weight.pull()
            optimizers[name].param_groups[0]["lr"] = rate
            optimizers[name].step()
            weight.push(rate * schedule.weight_decay)
        if (step + 1) % schedule.look_every and step + 1 < schedule.steps:
            continue
        looks.append({"step": step + 1, **look()})
        if progress is not None:
            progress(step + 1, schedule.steps, bars.describe(looks[-1]))
        if state is not None:
            _save(state, key, TrainingLog(step + 1, "", looks), weights, optimizers)
        if bars.reached(looks[-1]):
            return TrainingLog(step + 1, f"every bound was reached: {bars.describe(looks[-1])}", looks)
    return TrainingLog(schedule.steps, f"the step limit was reached: {bars.describe(looks[-1])}", looks)
