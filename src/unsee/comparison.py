"""Methods side by side on a benchmark: a cell for each method, split and seed, and what the cells say together."""

import gc
import json
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unsee import api, benchmarks
from unsee.benchmarks.benchmark import Benchmark, thinned
from unsee.edit import Edit
from unsee.edit import plain as settings_of
from unsee.errors import InputError
from unsee.evaluation import Asked, Evaluation, ask, evaluate
from unsee.methods import METHODS, NSCVF, ClosedForm, Method
from unsee.metrics.resampling import balances, interval
from unsee.models.checkpoint import load
from unsee.moments import measure
from unsee.records import Result, from_json, to_json
from unsee.scoring import outcomes
from unsee.system.memory import plan
from unsee.system.output import holds_record, with_folder
from unsee.system.parallel import each
from unsee.system.timing import forget_peak, peak_rss_mb

RESULT, OUTCOMES, LOG, FAILED = "result.json", "outcomes.json", "log.json", "failed.txt"
TABLE_SCORES = {
    "recognition": ("recognition", "target"),
    "seen": ("recognition", "target_seen"),
    "retained": ("recognition", "retained"),
    "scene": ("scene", "target"),
    "appearance": ("appearance", "target"),
    "balance": ("balance", "all"),
    "oracle_gap": ("oracle_gap", "all"),
    "ks_p": ("forget_quality", "ks_p"),
}

NOTHING = (float("nan"), float("nan"))

Draws = NDArray[np.float64]  # of the balance, one for each time that people were drawn
Told = Callable[[str], None]


@dataclass(frozen=True)
class Entry:
    """A method as it is compared.

    Without `images` it has the moments of the retained photos and not the photos. `then` goes on where it ended, with
    the retained features of the model before both.
    """

    method: Method
    images: bool = True
    then: Method | None = None


# Found by benchmarks/search_methods.py; what is not here has its defaults. The tokenizer of personas knows no better
# refusal.
TUNED: dict[str, dict[str, Any]] = {
    "rmu": {"rate": 1e-3, "weight": 1.0, "steer": 1.0},
    "vkd": {"rate": 3e-3, "distill": 100.0},
    "mmunlearner": {"rate": 3e-4, "saliency": 1.0},
    "manu": {"share": 0.12},
    "siu": {"refusal": "nothing", "rate": 1e-3, "weight": 4.0},
    "fisher": {"rate": 1e-4, "fisher": 100.0},
    "grad_ascent": {"rate": 3e-4, "steps": 20},
    "grad_diff": {"rate": 3e-4, "weight": 4.0},
    "kl": {"rate": 3e-4, "weight": 4.0},
    "npo": {"rate": 3e-4, "weight": 4.0},
    "po": {"refusal": "nothing", "rate": 3e-4, "weight": 4.0},
    "dpo": {"refusal": "nothing", "rate": 3e-4, "weight": 4.0},
    "finetune": {"rate": 1e-3, "steps": 160},
}


def tuned(name: str, **more: Any) -> Method:
    """A method with the settings that the search found."""
    method: Method = METHODS[name](**TUNED.get(name, {}) | more)
    return method


ABLATION: dict[str, Entry] = {
    "nscvf_no_contrast": Entry(NSCVF(contrast=0.0)),
    "nscvf_no_null_space": Entry(NSCVF(null_space=False)),
    "nscvf_neither": Entry(NSCVF(contrast=0.0, null_space=False)),
    "nscvf_moments": Entry(NSCVF(), images=False),
    "nscvf_moments_no_null_space": Entry(NSCVF(null_space=False), images=False),
    "nscvf_hardened": Entry(NSCVF(harden=1.0)),
    "nscvf_resistant": Entry(NSCVF(harden=1.0, resist=1.0, depths=1.0, share=0.65, distill=12.0)),
    "nscvf_concept": Entry(NSCVF(region="concept")),
    "nscvf_aside_0": Entry(NSCVF(aside=0)),
    "nscvf_nearest": Entry(NSCVF(region="nearest")),
    "nscvf_neighbours": Entry(NSCVF(region="neighbours")),
    "nscvf_mean": Entry(NSCVF(region="mean")),
    "nscvf_random": Entry(NSCVF(region="random")),
    "nscvf_energy": Entry(NSCVF(criterion="energy")),
    "nscvf_centred": Entry(NSCVF(criterion="centred")),
    "nscvf_rank": Entry(NSCVF(criterion="rank")),
    "nscvf_kaiser": Entry(NSCVF(criterion="kaiser")),
    "nscvf_projector": Entry(NSCVF(share=0.05)),
    "nscvf_all_layers": Entry(NSCVF(share=1.0)),
    "closed_form_steps": Entry(ClosedForm(sweeps=10), then=NSCVF(steps=100)),
    "nscvf_language": Entry(NSCVF(), then=tuned("grad_diff", scope="language")),
    "grad_diff_all": Entry(tuned("grad_diff", scope="all")),
    "npo_all": Entry(tuned("npo", scope="all")),
}
ENTRIES: dict[str, Entry] = {name: Entry(tuned(name)) for name in METHODS} | ABLATION


@dataclass(frozen=True)
class Cell:
    """One run of one method, and where its results are."""

    method: str
    split: str
    seed: int
    folder: Path


@dataclass(frozen=True)
class Row:
    """A method on a split, the mean over its seeds; scores as in result.json, NaN where none was measured.

    `interval` is that of the balance and `behind` that of how far it is below the best row's, over the seeds that both
    have (NaN without one): 95 %, over people.
    """

    method: str
    split: str
    seeds: int
    scores: Mapping[str, float]
    interval: tuple[float, float]
    behind: tuple[float, float]
    seconds: float
    peak_mb: float
    trained: int
    failed: str


def cells(out: Path, methods: Sequence[str], splits: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """All cells, split by split."""
    return [
        Cell(method, split, seed, out / method / f"{split}_{seed}")
        for split in splits
        for seed in seeds
        for method in methods
    ]


def there(out: Path) -> list[Cell]:
    """The cells of the folder that were made, or failed, as `cells` would order them."""
    order = {name: number for number, name in enumerate(ENTRIES)}
    found = []
    for file in [*out.glob(f"*/*/{RESULT}"), *out.glob(f"*/*/{FAILED}")]:
        split, _, seed = file.parent.name.rpartition("_")
        if split and seed.isdecimal():  # others are no cells
            found.append(Cell(file.parent.parent.name, split, int(seed), file.parent))
    return sorted(found, key=lambda cell: (cell.split, cell.seed, order.get(cell.method, len(order))))


def run(todo: Sequence[Cell], benchmark: str, told: Told, *, thin: int = 1, jobs: int = 1) -> None:
    """Makes the cells that are not there yet, those that failed again; one that fails does not keep others back.

    `thin` asks about every so many retained test photos alone; `jobs` cells are made at once, each in a process that
    has its share of the cores. Raises InputError for a split without a model or an oracle, and for a cell that was made
    with other settings.
    """
    missing = []
    for cell in todo:
        if (cell.folder / RESULT).exists():
            _check_settings(cell)
        else:
            missing.append(cell)
    work = partial(_work, benchmark=benchmark, thin=thin)
    with closing(each(work, missing, jobs)) as made:
        for number, cell in enumerate(made, len(todo) - len(missing) + 1):
            failed = ": failed" if (cell.folder / FAILED).exists() else ""
            told(f"{number}/{len(todo)} {cell.method}, {cell.split}, seed {cell.seed}{failed}")
    _asked.cache_clear()


def _work(cell: Cell, benchmark: str, thin: int) -> Cell:
    cell.folder.parent.mkdir(parents=True, exist_ok=True)
    fill = partial(_fill, cell, *_asked(benchmark, cell.split, thin))
    with_folder(cell.folder, fill, overwrite=True, mine=_is_cell)
    gc.collect()
    return cell


def _is_cell(folder: Path) -> bool:
    return (folder / FAILED).is_file() or holds_record(folder)


def _check_settings(cell: Cell) -> None:
    result = from_json((cell.folder / RESULT).read_text(encoding="utf-8"), str(cell.folder))
    entry = ENTRIES[cell.method]
    for name, value in settings_of(entry.then or entry.method).items():
        if result.method.get(name) != value:
            raise InputError(
                f"{cell.folder} was made with {name} {result.method.get(name)}, and {cell.method} has {value} now; "
                "remove that folder or name another output."
            )


@lru_cache(maxsize=1)  # one split's answers at a time
def _asked(benchmark: str, split: str, thin: int) -> tuple[Benchmark, Asked, Asked]:
    """The benchmark with what the model before and the oracle say."""
    bench = benchmarks.load(f"{benchmark}/{split}")
    if bench.model is None or bench.oracle is None:
        raise InputError(f"there is no model or no oracle for {bench.split}; choose a split that has both.")
    asked = thinned(bench, thin)
    return asked, ask(bench.model, asked), ask(bench.oracle, asked, mapped=False)


def _fill(cell: Cell, bench: Benchmark, before: Asked, oracle: Asked, folder: Path) -> None:
    try:
        _make(cell, bench, before, oracle, folder)
    except Exception as error:  # whatever a method does, the other cells go on
        text = f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}"
        (folder / FAILED).write_text(text, encoding="utf-8")


def _make(cell: Cell, bench: Benchmark, before: Asked, oracle: Asked, folder: Path) -> None:
    entry, started = ENTRIES[cell.method], time.monotonic()
    forget_peak()
    with tempfile.TemporaryDirectory(prefix="unsee-", dir=folder) as place:
        edit = _forget(entry.method, before.vlm.folder, bench, cell.seed, images=entry.images)
        trained = set(edit.weights)
        written = edit.save(Path(place) / "first")
        if entry.then is not None:
            first, edit = edit, _then(entry.then, before.vlm.folder, written, bench, cell.seed)
            trained |= set(edit.weights)
            edit = replace(edit, timings={name: edit.timings[name] + first.timings[name] for name in edit.timings})
            written = edit.save(Path(place) / "second")
        peak = peak_rss_mb()
        measured = evaluate(written, bench, before=before, oracle=oracle)
    sizes = {name: value.numel() for name, value in before.vlm.outline.named_parameters()}
    count = sum(sizes[name] for name in trained)
    timings = {"total_s": round(time.monotonic() - started, 2), "peak_rss_mb": peak}
    record(folder, cell.method, bench, before, measured, timings, trained=count, edit=edit)


def record(
    folder: Path,
    name: str,
    bench: Benchmark,
    before: Asked,
    measured: Evaluation,
    timings: dict[str, float],
    *,
    trained: int,
    edit: Edit | None = None,
) -> None:
    """Writes a cell into an existing folder; one that another program made has no `edit` and `timings` with forget_s.

    `trained` is how many numbers could move.
    """
    result = api.assemble(measured, bench, model=name, edit=edit, timings=timings)
    looks = [] if edit is None else edit.method.get("looks", [])
    sides = {"before": outcomes(bench.questions, before.answers.values), "after": measured.outcomes}
    (folder / LOG).write_text(json.dumps({"trained": trained, "looks": looks}), encoding="utf-8")
    (folder / OUTCOMES).write_text(json.dumps(sides), encoding="utf-8")
    (folder / RESULT).write_text(to_json(result), encoding="utf-8")


def _forget(method: Method, model: Path, bench: Benchmark, seed: int, *, images: bool) -> Edit:
    vlm = load(model, language=method.language)
    if images:
        return api.forget(vlm, bench.target, bench.retained, method=method, seed=seed)
    moments, _ = measure(vlm, bench.retained, method.moment_settings(seed), plan("normal", 0))
    return api.forget(vlm, bench.target, None, method=method, moments=moments, seed=seed)


def _then(method: Method, before: Path, model: Path, bench: Benchmark, seed: int) -> Edit:
    """Goes on at `model`; what is to be kept is as it was in the model before, unless the method asks about photos."""
    vlm = load(model, language=method.language)
    if method.language:
        return method.forget(vlm, bench.target, bench.retained, seed=seed)
    moments, photos = measure(load(before), bench.retained, method.moment_settings(seed), plan("normal", 0))
    return method.forget(vlm, bench.target, photos, moments=moments, seed=seed)


def rows(made: Sequence[Cell]) -> list[Row]:
    """What the cells say: a row for each method and split, the best balance of a split first, failed ones last."""
    found = []
    for split in dict.fromkeys(cell.split for cell in made):
        groups: dict[str, list[Cell]] = {}
        for cell in made:
            if cell.split == split:
                groups.setdefault(cell.method, []).append(cell)
        done = {name: [cell for cell in own if (cell.folder / RESULT).exists()] for name, own in groups.items()}
        results = {
            name: [from_json((cell.folder / RESULT).read_text(encoding="utf-8"), str(cell.folder)) for cell in own]
            for name, own in done.items()
        }
        draws = {name: {cell.seed: _draws(cell) for cell in own} for name, own in done.items() if own}
        order = sorted(draws, key=lambda name: -_score(results[name], ("balance", "all")))
        for name in [*order, *(name for name in groups if name not in draws)]:
            own = results[name]
            found.append(
                Row(
                    method=name,
                    split=split,
                    seeds=len(own),
                    scores={key: _score(own, score) for key, score in TABLE_SCORES.items()},
                    interval=interval(_averaged(draws[name].values())) if own else NOTHING,
                    behind=_behind(draws[order[0]], draws[name]) if own else NOTHING,
                    seconds=_mean([result.timings["forget_s"] for result in own]),
                    peak_mb=_mean([result.timings["peak_rss_mb"] for result in own]),
                    trained=max((_trained(cell) for cell in done[name]), default=0),
                    failed="; ".join(_failures(groups[name])),
                )
            )
    return found


def _averaged(draws: Iterable[Draws]) -> Draws:
    every = list(draws)
    return sum(every[1:], start=every[0]) / len(every)


def _behind(best: Mapping[int, Draws], own: Mapping[int, Draws]) -> tuple[float, float]:
    common = [best[seed] - own[seed] for seed in best if seed in own]
    return interval(_averaged(common)) if common else NOTHING


def _draws(cell: Cell) -> Draws:
    sides = json.loads((cell.folder / OUTCOMES).read_text(encoding="utf-8"))
    return balances(sides["before"], sides["after"])


def _trained(cell: Cell) -> int:
    return int(json.loads((cell.folder / LOG).read_text(encoding="utf-8"))["trained"])


def _failures(own: Sequence[Cell]) -> list[str]:
    files = [cell.folder / FAILED for cell in own]
    return list(dict.fromkeys(file.read_text(encoding="utf-8").splitlines()[0] for file in files if file.exists()))


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else float("nan")


def _score(results: Sequence[Result], score: tuple[str, str]) -> float:
    values = [result.value(*score, "after") for result in results]
    return _mean([value for value in values if value is not None])


def keeping(scores: Mapping[str, float], before: Mapping[str, float]) -> float:
    """Harmonic mean of recognition of others, scene and appearance, each by its value before; 0 to 1."""
    ratios = [scores[name] / before[name] for name in ("retained", "scene", "appearance") if before[name] > 0]
    return 0.0 if min(ratios) <= 0 else len(ratios) / sum(1 / ratio for ratio in ratios)


def reference(made: Sequence[Cell], split: str) -> dict[str, dict[str, float]]:
    """The scores of the model before and of the oracle on a split, from any of its cells; empty without one."""
    for cell in made:
        file = cell.folder / RESULT
        if cell.split == split and file.exists():
            result = from_json(file.read_text(encoding="utf-8"), str(file))
            return {
                phase: {
                    key: value
                    for key, score in TABLE_SCORES.items()
                    if (value := result.value(*score, phase)) is not None
                }
                for phase in ("before", "oracle")
            }
    return {}
