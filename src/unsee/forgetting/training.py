"""The one training loop: a null-space step, a look every few steps, an early stop, and a state to resume from."""

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Generator, Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from unsee.errors import InputError, OutputError
from unsee.forgetting.confined import ConfinedWeight
from unsee.system.disk import is_plain, is_there
from unsee.system.output import with_file
from unsee.system.tensors import tensor_hash

Loss = Callable[[Generator], Iterable[Tensor]]  # parts whose sum is the loss; each is let go before the next is made
Look = Callable[[], dict[str, float]]
Progress = Callable[[int, int, str], None]
LOOK_EVERY = 25  # steps between two measurements of a run on features


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


def _digest(value: object) -> str:
    """SHA-256 over a saved state: dicts by their keys, lists in their order, tensors with dtype, shape and bytes."""
    if isinstance(value, Tensor):
        return tensor_hash("", value)
    if isinstance(value, Mapping):
        return fingerprint(*(f"{key} {_digest(part)}" for key, part in value.items()))
    if isinstance(value, list | tuple):
        return fingerprint(*map(_digest, value))
    return repr(value)


def _save(file: Path, state: dict[str, object]) -> None:
    def fill(part: Path) -> None:
        torch.save({**state, "sha256": _digest(state)}, part)
        part.chmod(0o600)  # it is made of the target's photos

    try:
        with_file(file, fill)
    except RuntimeError as error:  # how torch reports a full disk
        raise OutputError(f"{file} could not be written ({error}); free some disk.") from error


def _restore(
    file: Path, key: str, weights: Mapping[str, ConfinedWeight], optimizers: Mapping[str, torch.optim.Optimizer]
) -> TrainingLog:
    try:
        if not is_plain(file):
            raise ValueError("it is a link, or no file")  # noqa: TRY301 # every way of being wrong is one
        state = torch.load(file, weights_only=True)
        if state["key"] == key:
            if state.pop("sha256", "") != _digest(state):
                raise ValueError("it is not what was written")  # noqa: TRY301
            for name, weight in weights.items():
                weight.weight.data.copy_(state["weights"][name])
                optimizers[name].load_state_dict(state["optimizers"][name])
            return TrainingLog(state["step"], "", state["looks"])
    except (
        OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, EOFError, IndexError, UnpicklingError
    ) as error:  # fmt: skip
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
            saved = {
                "weights": {name: weight.weight.detach() for name, weight in weights.items()},
                "optimizers": {name: optimizer.state_dict() for name, optimizer in optimizers.items()},
            }
            _save(state, {"key": key, "step": step + 1, "looks": looks, **saved})
        if bars.reached(looks[-1]):
            return TrainingLog(step + 1, f"every bound was reached: {bars.describe(looks[-1])}", looks)
    return TrainingLog(schedule.steps, f"the step limit was reached: {bars.describe(looks[-1])}", looks)
