"""Where models compute, in which precision they run forward, and what is done where the memory there is full."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from unsee.errors import InputError, unknown
from unsee.system.memory import lacks_memory
from unsee.system.processes import told

Given = ParamSpec("Given")
Made = TypeVar("Made")
AUTO, CPU, FULL, HALF = "auto", "cpu", "float32", "bfloat16"
PRECISIONS = (AUTO, FULL, HALF)
NO_FLOAT64 = ("mps",)
SHORT = 128  # tokens
LOG = logging.getLogger("unsee")


@dataclass(frozen=True)
class Computing:
    """What was asked for: a device as `chosen` takes it, and a precision, one of PRECISIONS."""

    device: str = AUTO
    precision: str = AUTO


_asked: ContextVar[Computing] = ContextVar("asked", default=Computing())  # noqa: B039 # it is frozen


@contextmanager
def computing(device: str | None = None, precision: str | None = None) -> Iterator[None]:
    """While open, models are opened on this device and run forward in this precision; None leaves it as it is.

    Raises InputError for a device that is not there, and a precision that there is not or that it does not compute in.
    """
    token = _asked.set(_asked.get())
    try:
        compute(device, precision)
        yield
    finally:
        _asked.reset(token)


def compute(device: str | None = None, precision: str | None = None) -> None:
    """As `computing`, from now on."""
    was = asked()
    wanted = Computing(device or was.device, precision or was.precision)
    if wanted.precision not in PRECISIONS:
        raise unknown("precision", wanted.precision, PRECISIONS)
    place = chosen(wanted.device)
    if wanted.precision == HALF and not torch.amp.is_autocast_available(place.type):
        raise InputError(f"{wanted.device} does not compute in bfloat16 by itself; give the precision float32.")
    _asked.set(wanted)


@contextmanager
def as_by_default() -> Iterator[None]:
    """While open, gradients are taken and new tensors are float32 on the CPU, whatever a notebook has set; a decorator.

    torch's modes that hold where it is called hold again afterwards.
    """
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    torch.set_default_dtype(torch.float32)
    if device.type != CPU:
        torch.set_default_device(CPU)
    try:
        with torch.inference_mode(mode=False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
        if device.type != CPU:
            torch.set_default_device(device)


def computes(work: Callable[Given, Made]) -> Callable[Given, Made]:
    """The same function, run on the `device` and in the `precision` that it is given by these names."""

    @wraps(work)
    @as_by_default()
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Made:
        device, precision = kwargs.get("device"), kwargs.get("precision")
        with computing(None if device is None else str(device), None if precision is None else str(precision)):
            return work(*args, **kwargs)

    return run


def asked() -> Computing:
    """What holds now."""
    return _asked.get()


def chosen(name: str | None = None) -> torch.device:
    """The device of that name, or the one that was asked for: auto, cpu, cuda, cuda:N, mps, or another of torch's.

    auto is a GPU where there is one, else the CPU. Raises InputError for one that is not there.
    """
    name = name or asked().device
    if name == AUTO:
        # of several processes that share the work, each has a GPU of its own
        own = told("LOCAL_RANK", 0) % max(1, torch.cuda.device_count())
        return torch.device("cuda", own) if torch.cuda.is_available() else torch.device(CPU)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that it no longer takes
            device = torch.device(name)
            torch.zeros(1).to(device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:  # torch asserts: built with CUDA
        raise InputError(f"there is no device {name} here; {_there()}.") from error
    if device.type == "meta":
        raise InputError(f"nothing can be computed on the device meta; {_there()}.")
    return device


def _there() -> str:
    """What can be given."""
    found = [AUTO, CPU, *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        found.append("mps")
    return f"give {', '.join(found[:-1])} or {found[-1]}"


def precision_on(device: torch.device) -> str:
    """In what models on the device run forward: auto is bfloat16 on a GPU that computes in it, else float32.

    On a CPU auto stays float32 also where it multiplies in bfloat16: machines and numbers of processes then differ by
    rounding alone.
    """
    if asked().precision != AUTO:
        return asked().precision
    half = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return HALF if half else FULL


def multiplies_in_half(device: torch.device) -> bool:
    """Whether the device is a CPU with instructions for products in bfloat16, as far as torch says it."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # of torch 2.10 and later
    return device.type == CPU and any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


class _ShortAttention(TorchFunctionMode):
    """While open, attention over few tokens is made of plain products: in bfloat16 on a CPU the fused kernel's backward
    pass takes ten times as long as these there.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is scaled_dot_product_attention and args and args[0].shape[-2] <= SHORT:
            with sdpa_kernel(SDPBackend.MATH):
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextmanager
def forward(device: torch.device) -> Iterator[None]:
    """What a forward pass of a model on the device runs in; weights, Grams and losses stay float32 or float64."""
    if precision_on(device) == FULL:
        yield
        return
    with torch.autocast(device.type, dtype=torch.bfloat16), _ShortAttention() if device.type == CPU else nullcontext():
        yield


def free_on(device: torch.device) -> float:
    """Bytes that are free in a device's own memory; infinite where it has none."""
    return float(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else float("inf")


def sums_on(device: torch.device) -> torch.device:
    """Where float64 sums of what is computed on the device are kept: there, or on the CPU where it has no float64."""
    return torch.device(CPU) if device.type in NO_FLOAT64 else device


def in_room(work: Callable[[int], Made], size: int) -> Made:
    """What `work` makes of batches of so many; of half as many, and so on, where memory does not suffice.

    That is logged each time. Raises the error where one at a time is too much.
    """
    while True:
        try:
            return work(size)
        except RuntimeError as error:
            if size == 1 or not lacks_memory(error):
                raise
        size = halved(size)


def halved(size: int) -> int:
    """Half of a batch, rounded up; frees what is kept for later, and logs it."""
    less = (size + 1) // 2
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    LOG.warning("memory is full; going on with batches of %d in the place of %d", less, size)
    return less
