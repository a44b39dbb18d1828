"""The one training loop: a null-space step, a look every few steps, an early stop, and a state to resume from."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.checkpoint import DefaultDeviceType, checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from unsee.errors import InputError, OutputError
from unsee.forgetting.confined import ConfinedWeight
from unsee.forgetting.optimizers import OPTIMIZERS
from unsee.models.features import device_of
from unsee.models.foreign import first_line
from unsee.models.spreading import parted, whole
from unsee.system.disk import allow, is_plain, is_there
from unsee.system.memory import lacks_memory
from unsee.system.output import with_file
from unsee.system.processes import anyone, count, dealt, first, merged, mine, same, summed
from unsee.system.progress import report
from unsee.system.tensors import fingerprint, tensor_hash

Loss = Callable[[Generator], Iterable[Tensor]]  # parts whose sum is the loss; each is let go before the next is made
Look = Callable[[], dict[str, float]]
Progress = Callable[[int, int, str], None]
LOOK_EVERY = 25  # steps between two measurements of a run on features
RISE, LEVEL = 1.25, 0.05  # how a value that should fall may rise, and below what it may do anything
AS_GOOD = 1.05  # of the lowest value: of states within it the last is kept, whose shorter steps disturb less
LEAST = 0.5**6  # of the rate: a run that has gone back so often ends


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. The rate warms up over 5 % of the steps and falls to zero along a cosine.

    It is the optimizer's, or where it is `relative` the length of a step by the norm of the weight.
    """

    steps: int
    rate: float
    weight_decay: float
    look_every: int
    relative: bool = False
    optimizer: str = "adamw"
    """A name in OPTIMIZERS."""


@dataclass(frozen=True)
class Trust:
    """What a look must not show: a value above its bound, or `falls` above RISE times the lowest that it was.

    Training then goes back to the last state that was good, with half the rate.
    """

    at_most: Mapping[str, float]
    falls: str

    def lost(self, looks: Mapping[str, float], lowest: float) -> bool:
        """Whether a look shows it; `lowest` is what `falls` was at its lowest. No number is lost too."""
        now = looks[self.falls]
        return not now <= max(RISE * lowest, LEVEL) or not all(looks[n] <= most for n, most in self.at_most.items())


@dataclass(frozen=True)
class Bars:
    """When a run may stop early: every measured value of these names at or below its bound."""

    at_most: Mapping[str, float]

    def reached(self, looks: Mapping[str, float]) -> bool:
        return all(name in looks and looks[name] <= bound for name, bound in self.at_most.items())

    def describe(self, looks: Mapping[str, float]) -> str:
        """The values, each beside its bound where that is not the 0 that nothing reaches."""
        bounds = {name: f" (bound {most:.3g})" if most > 0 else "" for name, most in self.at_most.items()}
        return ", ".join(f"{name} {looks[name]:.3g}{bound}" for name, bound in bounds.items())


@dataclass(frozen=True)
class TrainingLog:
    """How a run went: steps made, why it stopped, the values at every look, and those of the state it ended with."""

    steps: int
    stopped: str
    looks: list[dict[str, float]] = field(default_factory=list)
    final: dict[str, float] = field(default_factory=dict)


@contextmanager
def recomputed(model: PreTrainedModel) -> Iterator[None]:
    """While open, the layers compute their activations again in the backward pass, which saves their memory."""
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    before = DefaultDeviceType.get_device_type()
    DefaultDeviceType.set_device_type(device_of(model).type)  # else torch asks after a device that nothing is on
    try:
        for layer in layers:
            # The layer alone is told that it trains: what it holds, dropout for one, is not.
            layer.gradient_checkpointing = layer.training = True
            vars(layer)["_gradient_checkpointing_func"] = partial(checkpoint, use_reentrant=False)
        yield
    finally:
        DefaultDeviceType.set_device_type(before)
        for layer in layers:
            layer.gradient_checkpointing = layer.training = False


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


def _digest(value: object) -> str:
    """SHA-256 over a saved state: dicts by their keys, lists in their order, tensors with dtype, shape and bytes."""
    if isinstance(value, Tensor):
        return tensor_hash("", value)
    if isinstance(value, Mapping):
        return fingerprint(*(f"{key} {_digest(part)}" for key, part in value.items()))
    if isinstance(value, list | tuple):
        return fingerprint(*map(_digest, value))
    return repr(value)


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A state with all its tensors changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _each(part, change) for key, part in value.items()}
    return value


def _plain(tensor: Tensor) -> Tensor:
    """A tensor as it can be read where there is one process, and no such device."""
    return whole(tensor).cpu()


def _save(file: Path, state: dict[str, object]) -> None:
    def fill(part: Path) -> None:
        torch.save({**state, "sha256": _digest(state)}, part)
        allow(part, 0o600)  # it is made of the target's photos

    try:
        with_file(file, fill)
    except RuntimeError as error:  # how torch reports a full disk
        raise OutputError(f"{file} could not be written ({error}); free some disk.") from error


@dataclass(eq=False)
class _Run:
    """What a run is at: its weights and how each moves, and the best of what it has been."""

    weights: Mapping[str, ConfinedWeight]
    optimizer: str
    optimizers: dict[str, torch.optim.Optimizer] = field(init=False)
    step: int = 0
    looks: list[dict[str, float]] = field(default_factory=list)
    factor: float = 1.0
    """Of the rate: half of what it was after each retreat."""
    lowest: float = 1.0
    good: dict[str, Tensor] = field(default_factory=dict)
    """The weights of the best state that was looked at, or of the start; empty where nobody goes back."""
    best: int = 0
    """Place of that state among the looks, from 1; 0 is the start."""

    def __post_init__(self) -> None:
        self.fresh()

    def fresh(self) -> None:
        """Optimizers that remember nothing; one a weight, so that not all move at once."""
        self.optimizers = {name: OPTIMIZERS[self.optimizer]([w.free]) for name, w in self.weights.items()}

    def keep(self) -> None:
        """Makes the state now the good one."""
        self.good = {name: weight.weight.detach().clone() for name, weight in self.weights.items()}
        self.best = len(self.looks)

    @torch.no_grad()
    def back(self) -> None:
        """Goes back to the good state."""
        for name, weight in self.weights.items():
            weight.weight.copy_(self.good[name])

    def saved(self, *, shared: bool) -> dict[str, object]:
        """What `restore` needs; where weights are `shared` among processes, in the first process alone."""
        states = {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()}
        if shared:
            states = merged({name: states[name] for place, name in enumerate(states) if mine(place)})
        moving = {name: weight.weight.detach() for name, weight in self.weights.items()}
        return {
            **_each({"weights": moving, "optimizers": states, "good": self.good}, _plain),
            "numbers": [self.step, self.factor, self.lowest, self.best],
            "looks": self.looks,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Raises KeyError, TypeError or ValueError for what is no saved run of these weights."""
        for name, weight in self.weights.items():
            now = weight.weight.detach()

            def as_now(value: Tensor, now: Tensor = now) -> Tensor:
                return parted(value, now) if value.shape == now.shape else value

            now.copy_(as_now(state["weights"][name]))
            self.optimizers[name].load_state_dict(_each(state["optimizers"][name], as_now))
            if name in state["good"]:
                self.good[name] = as_now(state["good"][name])
        self.step, self.factor, self.lowest, self.best = state["numbers"]
        self.looks = list(state["looks"])


def _restore(file: Path, key: str, run: _Run) -> None:
    try:
        if not is_plain(file):
            raise ValueError("it is a link, or no file")  # noqa: TRY301 # every way of being wrong is one
        state = torch.load(file, weights_only=True)
        if state["key"] == key:
            if state.pop("sha256", "") != _digest(state):
                raise ValueError("it is not what was written")  # noqa: TRY301
            run.restore(state)
            return
    except (
        OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, UnpicklingError
    ) as error:  # fmt: skip
        reason = "it is no state of a run" if isinstance(error, UnpicklingError) else first_line(error)
        raise InputError(f"{file} cannot be read ({reason}); remove it, or run without --resume.") from error
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
    trust: Trust | None = None,
    state: Path | None = None,
    key: str = "",
    progress: Progress | None = None,
    smaller: Callable[[], bool] | None = None,
    shared: bool = False,
    lowest: float = 1.0,
) -> TrainingLog:
    """Moves `weights` down `loss`, each within its span and by an optimizer of its own.

    `loss` draws its batch from the generator it is given, which depends on the seed and the step alone, so that a run
    resumed from `state` makes the same steps as one that was never interrupted. `look` measures the run every few
    steps; it stops when `bars` are reached. With `trust`, a look that loses it sends the run back, and what is left at
    the end is the best state that was looked at; `lowest` is where what should fall begins. `smaller` is called where
    memory does not suffice for a step: it makes the parts of the loss smaller, and says whether it could.

    Where the loss is `shared`, each of several processes has some of its parts, and gradients are added up; then each
    moves some of the weights, and remembers for these alone what the optimizer does (as in ZeRO, Rajbhandari et al.
    2020, arXiv 1910.02054). Else each does all.
    """
    run = _Run(weights, schedule.optimizer, lowest=lowest)
    if trust is not None:
        run.keep()
    if state is not None and is_there(state):
        _restore(state, key, run)
    while run.step < schedule.steps and run.factor > LEAST and not (run.looks and bars.reached(run.looks[-1])):
        _step(run, loss, schedule, seed, smaller, shared=shared)
        report("forgetting", run.step, schedule.steps, bars.describe(run.looks[-1]) if run.looks else "")
        if run.step % schedule.look_every and run.step < schedule.steps:
            continue
        run.looks.append(same({"step": run.step, **look()}))
        if trust is not None:
            _judge(run, trust, reached=bars.reached(run.looks[-1]))
        if progress is not None:
            progress(run.step, schedule.steps, bars.describe(run.looks[-1]))
        if state is not None:
            saved = run.saved(shared=shared)
            if first():
                _save(state, {"key": key, **saved})
    if trust is not None and run.looks and run.best < len(run.looks):
        run.back()
    return _log(run, bars, schedule, kept=trust is not None)


def _step(
    run: _Run, loss: Loss, schedule: Schedule, seed: int, smaller: Callable[[], bool] | None, *, shared: bool
) -> None:
    warm = min(1.0, (run.step + 1) / max(1.0, 0.05 * schedule.steps))
    rate = run.factor * schedule.rate * warm * (0.5 + 0.5 * math.cos(math.pi * run.step / schedule.steps))
    while True:
        full: RuntimeError | None = None
        try:
            for part in loss(Generator().manual_seed(seed * 1_000_003 + run.step)):
                part.backward()
        except RuntimeError as error:
            if smaller is None or not lacks_memory(error):
                raise
            full = error
        # Parts are numbered by their size: where one process needs smaller ones, all make the step again.
        if smaller is None or not (anyone(full is not None) if shared else full):
            break
        if not smaller():
            raise full or InputError("another process has too little memory for one image; give it more.")
        for weight in run.weights.values():
            weight.weight.grad = None
    if shared and count() > 1:
        for weight in run.weights.values():
            if weight.weight.grad is None:
                weight.weight.grad = torch.zeros_like(weight.weight)
        summed(weight.weight.grad for weight in run.weights.values() if weight.weight.grad is not None)
    for place, (name, weight) in enumerate(run.weights.items()):
        if shared and not mine(place):
            weight.weight.grad = None
            continue
        weight.pull()
        run.optimizers[name].param_groups[0]["lr"] = 1.0 if schedule.relative else rate
        run.optimizers[name].step()
        weight.push(rate * schedule.weight_decay, rate if schedule.relative else None)
    if shared:
        dealt([weight.weight.detach() for weight in run.weights.values()])
    run.step += 1


def _judge(run: _Run, trust: Trust, *, reached: bool) -> None:
    """Keeps the state of the last look, or goes back, as it deserves; one that `reached` every bound is kept."""
    look = run.looks[-1]
    if not reached and trust.lost(look, run.lowest):
        run.back()
        run.fresh()
        run.factor /= 2
        look["retreat"] = run.factor
    elif reached or look[trust.falls] <= AS_GOOD * run.lowest:
        run.lowest = min(run.lowest, look[trust.falls])
        run.keep()


def _log(run: _Run, bars: Bars, schedule: Schedule, *, kept: bool) -> TrainingLog:
    """What a run came to; of one with trust, at the state that was kept."""
    place = run.best if kept else len(run.looks)
    if not place:
        return TrainingLog(run.step, "no step brought the target nearer without moving what is retained", run.looks)
    final = run.looks[place - 1]
    if bars.reached(final):
        reason = "every bound was reached"
    elif run.step < schedule.steps:
        reason = "smaller steps did not help"
    else:
        reason = "the step limit was reached"
    return TrainingLog(run.step, f"{reason}: {bars.describe(final)}", run.looks, final)
