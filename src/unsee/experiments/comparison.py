"""Methods side by side on a benchmark: runs a cell for each method, split and seed."""

import gc
import json
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from unsee import api, benchmarks
from unsee.benchmarks.benchmark import Benchmark, thinned
from unsee.errors import InputError
from unsee.evaluation.evaluate import Asked, Evaluation, ask, evaluate
from unsee.evaluation.hearing import NEVER
from unsee.evaluation.scoring import outcomes
from unsee.experiments.cells import FAILED, LOG, OUTCOMES, RESULT, Cell
from unsee.experiments.entries import ENTRIES, entry
from unsee.forgetting.edit import Edit, settings_of
from unsee.methods import Method
from unsee.models.checkpoint import load
from unsee.moments.measure import measure
from unsee.moments.records import AUTO
from unsee.records import from_json, to_json
from unsee.system.output import holds_record, with_folder
from unsee.system.parallel import each
from unsee.system.timing import forget_peak, peak_rss_mb

Told = Callable[[str], None]


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
    """Makes the cells that are missing or failed. If one fails, the others are made all the same.

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
    made = entry(cell.method)
    for name, value in settings_of(made.then or made.method).items():
        if value != AUTO and result.method.get(name) != value:
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
    made, started = entry(cell.method), time.monotonic()
    forget_peak()
    with tempfile.TemporaryDirectory(prefix="unsee-", dir=folder) as place:
        edit = _forget(made.method, before.vlm.folder, bench, cell.seed, images=made.images)
        trained = set(edit.weights)
        written = edit.save(Path(place) / "first", keep_anyway=True)
        if made.then is not None:
            first, edit = edit, _then(made.then, before.vlm.folder, written, bench, cell.seed)
            trained |= set(edit.weights)
            edit = replace(edit, timings={name: edit.timings[name] + first.timings[name] for name in edit.timings})
            written = edit.save(Path(place) / "second", keep_anyway=True)
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
    moments, _ = measure(vlm, bench.retained, method.moment_settings(seed), vlm.bounds("normal"), alone=True)
    return api.forget(vlm, bench.target, None, method=method, moments=moments, seed=seed, ask=NEVER)


def _then(method: Method, before: Path, model: Path, bench: Benchmark, seed: int) -> Edit:
    """Goes on from `model`. Retained features are those of the model `before`, unless the method asks about photos."""
    vlm = load(model, language=method.language)
    if method.language:
        return method.forget(vlm, bench.target, bench.retained, seed=seed)
    first = load(before)
    moments, photos = measure(first, bench.retained, method.moment_settings(seed), first.bounds("normal"))
    return method.forget(vlm, bench.target, photos, moments=moments, seed=seed)
