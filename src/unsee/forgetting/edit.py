"""What a method changed, and writing it out as a checkpoint."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unsee import __version__
from unsee.errors import InputError, MissedError, check_kind
from unsee.models.carried import hashes
from unsee.models.checkpoint import Vlm, load, part_way, visual_hash, write
from unsee.models.spreading import whole
from unsee.models.weights import assign
from unsee.records import SCHEMA, LayerDrift, Reply, Request, Verdict, check_schema
from unsee.system.disk import file_hash, is_plain
from unsee.system.environment import environment, now
from unsee.system.output import RECORD, with_folder

SHOWN = 12  # answers in a notebook
MOST_SHARE = 2.0  # of a trained change
MOST_RECORD = 64 << 20  # bytes of unsee.json


@dataclass(frozen=True, repr=False)
class Edit:
    """New values of some weights of `vlm`, by parameter name, and how they came about.

    They are already rounded to the dtype in which each is stored. All are visual but those in `protected`, names of the
    language model's that a method was asked to change. `request` says what was asked for, `replies` are what the model
    said before and after, where it was asked.
    """

    vlm: Vlm
    weights: Mapping[str, Tensor]
    method: dict[str, Any]
    seed: int
    stopped: str
    layers: list[LayerDrift] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    protected: tuple[str, ...] = ()
    verdict: Verdict | None = None
    request: Request | None = None
    replies: tuple[Reply, ...] = ()

    def __repr__(self) -> str:
        """In a line: the method, what it changed, and the verdict."""
        told = "" if self.verdict is None else f", {'passed' if self.verdict.passed else 'failed'}"
        return f"<Edit of {self.vlm.folder.name} by {self.method.get('name')}: {len(self.weights)} weights{told}>"

    def _repr_html_(self) -> str:
        """For a notebook: the verdict in its sentence, and the answers of some photos."""
        rows = "".join(
            f"<tr><td>{escape(reply.sample.subset)}</td><td>{escape(reply.sample.question)}</td>"
            f"<td>{escape(reply.before)}</td><td>{escape(reply.after)}</td></tr>"
            for reply in self.replies[:SHOWN]
        )
        said = "" if self.verdict is None else self.verdict.sentence()
        head = "<tr><th>subset</th><th>question</th><th>before</th><th>after</th></tr>"
        return f"<p>{escape(repr(self))}</p><p>{escape(said)}</p><table>{head}{rows}</table>"

    def apply(self) -> Vlm:
        """The whole model with the new weights, to be tried: nothing is written, and `vlm` stays as it was.

        Raises InputError where the checkpoint cannot be opened any more.
        """
        own_code = type(self.vlm.model).__module__.startswith("transformers_modules")  # trusted when it was opened
        opened = load(self.vlm.folder, language=True, trust_remote_code=own_code, device=self.vlm.device)
        assign(dict(opened.model.named_parameters()), self.weights)
        return opened

    def save(
        self,
        out: Path | str,
        *,
        overwrite: bool = False,
        link: bool = False,
        keep_anyway: bool = False,
        record: Callable[[Path], None] | None = None,
    ) -> Path:
        """Writes the edited checkpoint, with unsee.json: `out` is complete or absent, never half-written.

        Shards without an edited tensor are copied, or with `link` become hard links. `record` may add files to the
        folder before it takes its name.

        Raises InputError where `out` exists (unless `overwrite`, and unsee wrote it) or the disk refuses, and
        MissedError, unless `keep_anyway`, where the verdict is that the request did not reach its aim.
        """
        check_kind("out", out, (str, Path), "a folder to write")
        target = Path(out)
        if self.verdict is not None and not self.verdict.passed and not keep_anyway:
            raise MissedError(f"{self.verdict.sentence()} {self.verdict.missing()} Nothing was written.")

        def fill(folder: Path) -> None:
            write(self.vlm, self.weights, folder, link=link, protected=self.protected)
            facts: dict[str, Any] = {
                "request": None if self.request is None else asdict(self.request),
                "method": self.facts(),
                "seed": self.seed,
                "timings": self.timings,
                "layers": [asdict(layer) for layer in self.layers],
                "verdict": self.told(),
                "weights_before": visual_hash(self.vlm),
                "weights_after": visual_hash(self.vlm, self.weights),
            }
            write_record(self.vlm.folder, folder, facts)
            if record is not None:
                record(folder)

        with_folder(target, fill, overwrite=overwrite)
        return target

    def scaled(self, share: float) -> "Edit":
        """The edit that goes so far from the weights before to these, 1 being all the way; its record says so.

        Raises InputError for a share below 0 or above MOST_SHARE: nobody knows what a model is there.
        """
        if not 0 <= share <= MOST_SHARE:  # nor is what is no number
            raise InputError(f"share is {share}; expected 0 to {MOST_SHARE:g}, where 1 is the trained change.")
        parameters = dict(self.vlm.model.named_parameters())
        weights = {name: part_way(whole(parameters[name]), value, share) for name, value in self.weights.items()}
        layers = [
            replace(layer, retained=layer.retained * share**2, change=layer.change * share) for layer in self.layers
        ]
        return replace(self, weights=weights, layers=layers, method={**self.method, "share_of_change": share})

    def told(self) -> dict[str, Any] | None:
        """The verdict for a record, with its sentence."""
        return None if self.verdict is None else {**asdict(self.verdict), "sentence": self.verdict.sentence()}

    def facts(self) -> dict[str, Any]:
        """The method's part of result.json."""
        return {**self.method, "stopped": self.stopped, "trained_weights": len(self.weights)}


def rounded(
    vlm: Vlm, trained: Mapping[str, Tensor], start: Mapping[str, Tensor], advice: str = "a lower rate"
) -> tuple[dict[str, Tensor], float]:
    """The weights of layers as they are stored, on the CPU by parameter name, and the share of their change lost so.

    `trained` and `start` hold the weights now and before, by layer. Raises InputError, with what to give, where one is
    no longer finite.
    """
    after, lost, moved = dict[str, Tensor](), 0.0, 0.0
    for name, weight in trained.items():
        now, was = whole(weight.detach()), whole(start[name])
        stored = now.to("cpu", vlm.dtype_of(f"{name}.weight"), copy=True)
        if not torch.isfinite(stored).all():
            raise InputError(f"the run diverged: {name} is no longer finite as stored; give {advice}.")
        lost += float((stored.to(now) - now).square().sum())
        moved += float((now - was).square().sum())
        after[f"{name}.weight"] = stored
    return after, (lost / moved) ** 0.5 if moved else 0.0


def write_record(before: Path | None, folder: Path, facts: Mapping[str, Any]) -> None:
    """Writes unsee.json into a checkpoint: what was done, and the SHA-256 of every file, and of those before if any."""
    known: dict[tuple[int, int], str] = {}
    record = {
        "schema": SCHEMA,
        "unsee": __version__,
        "time": now(),
        **facts,
        "files_before": {} if before is None else hashes(before, known) | _chained(before),
        "files_after": hashes(folder, known),
        "environment": environment(),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _chained(before: Path) -> dict[str, str]:
    """The hash of the record of an earlier request, if the checkpoint before has one."""
    return {RECORD: file_hash(before / RECORD)} if is_plain(before / RECORD) else {}


def read_record(folder: Path) -> dict[str, Any]:
    """What unsee.json in a checkpoint says; empty where there is none. Raises InputError where it is damaged."""
    file = folder / RECORD
    if not file.is_file():
        return {}
    if file.stat().st_size > MOST_RECORD:
        raise InputError(
            f"{file} has {file.stat().st_size:,} bytes; expected at most {MOST_RECORD:,}, so copy it again."
        )
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(record, dict):
            older = not isinstance(record.get("weights_before"), str)  # which have other fields
            check_schema("unsee", record, str(file), only=("request", "verdict", "session") if older else None)
        made = record.get("method", {})
        record["method"] = {name: value for name, value in made.items() if name != "looks"}
        record["seed"] = int(record.get("seed", 0))
        record["files_after"] = dict(record.get("files_after", {}))
        if record.get("request"):
            given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in record["request"].items()}
            record["request"] = Request(**given)
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{file} is not as unsee writes it ({error}); copy the checkpoint here again.") from error
    found: dict[str, Any] = record
    return found


def settings_of(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain values for result.json."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(settings).items()}
