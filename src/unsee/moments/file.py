"""The moments file: what is known of retained images, to be used without them."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from unsee.errors import InputError
from unsee.linalg.discriminant import Scatter
from unsee.linalg.gram import Gram
from unsee.models.checkpoint import Vlm, visual_hash
from unsee.moments.modes import Modes, RetainedFeatures
from unsee.moments.records import Moments
from unsee.moments.vectors import Layout
from unsee.system.disk import allow, umask
from unsee.system.output import with_file
from unsee.system.tensors import TensorFile, form_of, opened, write

FORMAT = "unsee-moments-6"
SCRATCH = "unsee-gram-1"
GUARD = "guard."  # before the names of a guard's tensors
LARGE_PARTS = ("outer.", "total.", GUARD)
SINGLE = 1024  # width from which on Grams are stored in single precision: 1e-7 of them, a thousandth of any ridge


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
    if known.layout.basis is not None:
        tensors["basis"] = known.layout.basis
    tensors |= {"concept": moments.concept, **{f"scatter.{n}": value for n, value in vars(moments.scatter).items()}}
    facts = {
        "layers": {name: [first, counts[first]] for name, first in moments.first.items()},
        "layout": asdict(replace(known.layout, basis=None)),
        "spread": known.spread,
        "hashes": moments.hashes,
        "model": moments.model,
        "guard": guarded,
    }

    def fill(part: Path) -> None:
        write(part, tensors, FORMAT, facts)
        allow(part, 0o666 & ~umask())  # as its neighbours; safetensors writes for the owner alone

    with_file(file, fill, overwrite=overwrite, mine=is_moments)


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
        layout=Layout(shapes, how["scales"], how["pooled"], small.get("basis")),
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
