"""What the cells of a comparison say together: means, intervals over people, differences that are sure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from unsee.experiments.cells import FAILED, LOG, OUTCOMES, RESULT, Cell
from unsee.metrics.resampling import balances, interval
from unsee.records import Result, from_json

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


@dataclass(frozen=True)
class MethodRow:
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


def rows(made: Sequence[Cell]) -> list[MethodRow]:
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
                MethodRow(
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
