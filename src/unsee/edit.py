"""What a method changed, and writing it out as a checkpoint."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from unsee.errors import InputError
from unsee.linalg.subspace import ConfinedWeight
from unsee.models.checkpoint import Vlm, write
from unsee.records import LayerDrift
from unsee.system.disk import sync


@dataclass(frozen=True)
class Edit:
    """New values of some weights of `vlm`, by parameter name, and how they came about.

    They are already rounded to the dtype in which each is stored. All are visual but those in `protected`, names of the
    language model's that a method was asked to change.
    """

    vlm: Vlm
    weights: Mapping[str, Tensor]
    method: dict[str, Any]
    seed: int
    stopped: str
    layers: list[LayerDrift] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    protected: tuple[str, ...] = ()

    def save(
        self,
        out: Path | str,
        *,
        overwrite: bool = False,
        copy: bool = False,
        record: Callable[[Path], None] | None = None,
    ) -> Path:
        """Writes the edited checkpoint: `out` is complete or absent, never half-written.

        Shards without an edited tensor become hard links, or with `copy` copies. `record` may add files to the folder
        before it takes its name.

        Raises InputError where `out` exists (unless `overwrite`) or the disk refuses.
        """
        target = Path(out)

        def fill(folder: Path) -> None:
            write(self.vlm, self.weights, folder, copy=copy, protected=self.protected)
            if record is not None:
                record(folder)

        with_folder(target, fill, overwrite=overwrite)
        return target

    def facts(self) -> dict[str, Any]:
        """The method's part of result.json."""
        return {**self.method, "stopped": self.stopped, "trained_weights": len(self.weights)}


def rounded(vlm: Vlm, weights: Mapping[str, ConfinedWeight]) -> tuple[dict[str, Tensor], float]:
    """What freely trained weights are once they are stored, by parameter name, and the share of the change lost so.

    Raises InputError where one is no longer finite.
    """
    after, lost, moved = dict[str, Tensor](), 0.0, 0.0
    for name, confined in weights.items():
        trained = confined.weight.detach()
        stored = trained.to(vlm.dtype_of(f"{name}.weight"), copy=True)
        if not torch.isfinite(stored).all():
            raise InputError(f"the run diverged: {name} is no longer finite as stored; give a lower rate.")
        lost += float((stored.to(trained.dtype) - trained).square().sum())
        moved += float((trained - confined.start).square().sum())
        after[f"{name}.weight"] = stored
    return after, (lost / moved) ** 0.5 if moved else 0.0


def refuse_existing(out: Path, *, overwrite: bool, reads: Iterable[Path | str | None] = ()) -> None:
    """Raises InputError where `out` exists and may not be replaced, or its parent is not a folder.

    Nor may it be, or hold, anything that the command `reads`.
    """
    for source in reads:
        if source is not None and Path(source).resolve().is_relative_to(out.resolve()):
            raise InputError(f"{out} would replace {source}, which is read; name another output.")
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already; name another output or add --overwrite.")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; expected the name of a folder to write.")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out.absolute().parent} does not exist; make it first or name another output.")


def with_folder(out: Path, fill: Callable[[Path], None], *, overwrite: bool = False) -> None:
    """Lets `fill` write into a temporary folder beside `out`, flushes it and renames it to `out`.

    Raises InputError where `out` may not be written or the disk refuses; nothing is left behind then.
    """
    refuse_existing(out, overwrite=overwrite)
    place = out.absolute().parent
    try:
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=place) as partial:
            folder = Path(partial) / "complete"
            folder.mkdir()
            fill(folder)
            sync(folder)
            if out.exists():
                out.rename(Path(partial) / "replaced")
            folder.rename(out)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise InputError(f"{out} could not be written ({reason or error}); nothing was left there.") from error


def plain(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain values for result.json."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}
