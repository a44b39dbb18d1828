"""The moments file: what is known of retained images, to be used without them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from math import isclose
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from unsee.errors import InputError
from unsee.linalg.anchor import Anchor
from unsee.linalg.discriminant import Scatter
from unsee.linalg.gram import Gram
from unsee.models.checkpoint import Vlm, visual_hash
from unsee.models.inputs import signature
from unsee.moments.modes import Modes, RetainedFeatures
from unsee.moments.records import Moments
from unsee.moments.states import States
from unsee.moments.vectors import Layout
from unsee.system.disk import allow, umask
from unsee.system.output import with_file
from unsee.system.tensors import TensorFile, form_of, opened, write

FORMAT = "unsee-moments-7"
STATE = "unsee-state-2"  # of moments with a guard and its anchors
OLD = "unsee-moments-6"  # a state of before; it has no anchors, and no states
SCRATCH = "unsee-gram-1"
GUARD, ANCHOR = "guard.", "anchor."  # before the names of a guard's tensors
ENERGIES = "anchor_energies"
LARGE_PARTS = ("outer.", "total.", GUARD, ANCHOR, ENERGIES)
NEAR = 0.01  # of numbers that a processor makes of one picture with one library or another
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
        total = _clear(self._cipher, stored, names[1], total, torch.float64)
        outer = _clear(self._cipher, stored, names[0], outer, _kept(len(total)))
        if not (total.isfinite().all() and outer.isfinite().all()):
            raise _strange(stored.file, f"{name} has numbers that are not finite")
        try:
            return Gram(_square(outer.double(), len(total)), total, count)
        except (TypeError, ValueError, RuntimeError) as error:  # other shapes than were written
            raise _strange(stored.file, error) from error

    def __contains__(self, name: object) -> bool:
        return name in self._places  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __or__(self, other: "StoredGrams") -> "StoredGrams":
        """The Grams of both."""
        return StoredGrams(self._places | other._places)


class StoredAnchors(Mapping[str, Anchor]):
    """Anchors that wait on the disk, by layer, as `StoredGrams` do."""

    def __init__(self, stored: TensorFile, shapes: Mapping[str, Sequence[int]], cipher: Cipher | None = None) -> None:
        """`shapes` are (d_out, d_in) of each layer, in the order of their energies."""
        self._stored, self._shapes, self._cipher = stored, dict(shapes), cipher

    def __getitem__(self, name: str) -> Anchor:
        rows, columns = self._shapes[name]
        place, tensors = f"{ANCHOR}{name}", self._stored.read([f"{ANCHOR}{name}", ENERGIES])
        outputs = _clear(self._cipher, self._stored, place, tensors[place], _kept(columns))
        energies = _clear(self._cipher, self._stored, ENERGIES, tensors[ENERGIES], torch.float64)
        return Anchor(outputs.view(rows, columns).double(), float(energies[list(self._shapes).index(name)]))

    def __contains__(self, name: object) -> bool:
        return name in self._shapes  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


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


def _clear(cipher: Cipher | None, stored: TensorFile, name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor as it was before it was encrypted, if it was."""
    if tensor.dtype != torch.uint8:
        return tensor
    if cipher is None:
        raise InputError(f"the guard in {stored.file} is encrypted; give the session's secret with --secret.")
    return torch.frombuffer(bytearray(cipher.decrypt(name, tensor.numpy().tobytes())), dtype=dtype)


def is_moments(file: Path) -> bool:
    """Whether a file holds moments, of this version or another."""
    return form_of(file).startswith(("unsee-moments-", "unsee-state-"))


def save(
    moments: Moments,
    file: Path,
    guard: Mapping[str, Gram] | None = None,
    anchors: Mapping[str, Anchor] | None = None,
    *,
    cipher: Cipher | None = None,
    overwrite: bool = True,
) -> None:
    """Writes a moments file (safetensors), or with the Grams and anchors of a guard a state; whole or not at all.

    With a `cipher` the guard is encrypted. Raises InputError where the disk refuses, or `file` exists and is no moments
    file, or `overwrite` is false.
    """
    tensors: dict[str, Tensor] = {}
    counts, guarded = dict[str, float](), dict[str, float]()
    for name, gram in moments.grams.items():
        tensors |= _tensors(name, gram)
        counts[name] = gram.count
    secret = dict[str, Tensor]()
    for name, gram in (guard or {}).items():
        secret |= _tensors(name, gram, GUARD)
        guarded[name] = gram.count
    shapes, energies = dict[str, list[int]](), list[float]()
    for name, anchor in (anchors or {}).items():
        shapes[name] = list(anchor.outputs.shape)
        secret[f"{ANCHOR}{name}"] = anchor.outputs.to(_kept(shapes[name][1]))
        energies.append(anchor.energy)
    if energies:
        secret[ENERGIES] = torch.tensor(energies, dtype=torch.float64)
    tensors |= secret if cipher is None else {name: _hidden(cipher, name, value) for name, value in secret.items()}
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
    states = moments.states
    if states is not None:
        tensors |= {"counted": states.concept, **{f"states.{n}": value for n, value in vars(states.sums).items()}}
    facts = {
        "layers": {name: [first, counts.get(first)] for name, first in moments.first.items()},
        "layout": asdict(replace(known.layout, basis=None)),
        "spread": known.spread,
        "hashes": moments.hashes,
        "model": moments.model,
        "guard": guarded,
        "anchors": shapes,
        "unnamed": moments.unnamed,
        "processor": moments.processor,
        "states": None if states is None else [states.layer, *states.shape],
    }
    form = FORMAT if guard is None else STATE

    def fill(part: Path) -> None:
        write(part, tensors, form, facts)
        allow(part, 0o666 & ~umask())  # as its neighbours; safetensors writes for the owner alone

    with_file(file, fill, overwrite=overwrite, mine=is_moments)


def read(file: Path, vlm: Vlm | None = None) -> Moments:
    """Opens a moments file; Grams are read from it when they are needed.

    Raises InputError where it is none, or was measured on another model than `vlm`, if one is given.
    """
    return _read(file, vlm, FORMAT)[0]


def read_guarded(
    file: Path, vlm: Vlm, cipher: Cipher | None = None
) -> tuple[Moments, Mapping[str, Gram], Mapping[str, Anchor] | None]:
    """A state: as `read`, with the Grams and anchors of the guard; an encrypted one needs its `cipher` to be used.

    One of an older version has None in the place of anchors.
    """
    old = form_of(file) == OLD
    moments, stored = _read(file, vlm, OLD if old else STATE)
    try:
        counts = {name: (stored, float(count)) for name, count in stored.facts["guard"].items()}
        shapes = None if old else {name: (int(r), int(c)) for name, (r, c) in stored.facts["anchors"].items()}
        dict.fromkeys(map(moments.first.__getitem__, (*counts, *(shapes or ()))))  # each is one of the layers
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _strange(file, error) from error
    guard = StoredGrams(counts, GUARD, cipher)
    return moments, guard, None if shapes is None else StoredAnchors(stored, shapes, cipher)


def _read(file: Path, vlm: Vlm | None, form: str) -> tuple[Moments, TensorFile]:
    try:
        stored = opened(file, form)
        small = stored.read(name for name in stored.sums if not name.startswith(LARGE_PARTS))
        moments = _assembled(stored, small)
        dict(stored.facts["guard"])
        if vlm is not None:
            _check_layers(moments, vlm)
    except InputError:  # a sentence already, and a ValueError too
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise _strange(file, error) from error
    if vlm is not None and moments.model != visual_hash(vlm):
        raise InputError(f"{file} was measured on another model than {vlm.folder}; run unsee moments on this one.")
    if vlm is not None and moments.processor and not _alike(moments.processor, signature(vlm.processor)):
        raise InputError(
            f"{file} was measured with other settings of the processor than those in {vlm.folder}; put these back, or "
            "run unsee moments again."
        )
    return moments, stored


def _check_layers(moments: Moments, vlm: Vlm) -> None:
    """Raises KeyError for what is no layer of the model, ValueError for numbers that are not finite."""
    modules = dict(vlm.model.named_modules())
    states = () if moments.states is None else (moments.states.layer,)
    for name in {*moments.first, *moments.first.values(), *states}:
        if not isinstance(getattr(modules.get(name), "weight", None), Tensor):
            raise KeyError(name)
    if not all(value.isfinite().all() for value in (moments.features.mean, *vars(moments.scatter).values())):
        raise ValueError("it holds numbers that are not finite")


def _alike(one: Sequence[float], other: Sequence[float]) -> bool:
    return len(one) == len(other) and all(
        isclose(a, b, rel_tol=NEAR, abs_tol=NEAR) for a, b in zip(one, other, strict=True)
    )


def _strange(file: Path, error: Exception | str) -> InputError:
    return InputError(
        f"{file} is not a moments file of this version that is whole ({error}); make one with unsee moments."
    )


def _assembled(stored: TensorFile, small: Mapping[str, Tensor]) -> Moments:
    """The moments of what a file holds; KeyError, TypeError or ValueError where something is missing or misshapen."""
    places, facts = {}, stored.facts
    for source, count in facts["layers"].values():
        if count is None:
            continue  # the layer was not measured
        if not {f"outer.{source}", f"total.{source}"} <= stored.sums.keys():
            raise KeyError(f"outer.{source}")
        places[source] = (stored, float(count))
    found = _scatter(small, "scatter.")
    how = facts["layout"]
    shapes = {name: (int(tokens), int(width)) for name, (tokens, width) in how["shapes"].items()}
    if not shapes or not shapes.keys() == how["scales"].keys() == facts["spread"].keys():
        raise KeyError("shapes")
    features = RetainedFeatures(
        layout=Layout(shapes, how["scales"], how["pooled"], small.get("basis")),
        spread=facts["spread"],
        mean=small["mean"],
        modes=Modes(small["centers"], small["owners"]),
        within=small["within"],
        discriminant=found.discriminant(),
    )
    first = {name: source for name, (source, _) in facts["layers"].items()}
    states = None
    if facts.get("states") is not None:
        layer, tokens, width = facts["states"]
        states = States(str(layer), (int(tokens), int(width)), _scatter(small, "states."), small["counted"])
    return Moments(
        StoredGrams(places),
        first,
        features,
        found,
        tuple(facts["hashes"]),
        small["concept"],
        facts["model"],
        unnamed=str(facts.get("unnamed", "")),
        processor=tuple(map(float, facts.get("processor", ()))),
        states=states,
    )


def _scatter(tensors: Mapping[str, Tensor], prefix: str) -> Scatter:
    return Scatter(**{name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
