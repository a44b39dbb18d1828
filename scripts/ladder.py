"""The same request on every model of the ladder, one JSON line a run, and the page docs/ladder.md made of them.

    python scripts/ladder.py run --split reported --seeds 0,1,2     # what is not measured yet
    python scripts/ladder.py write                                  # docs/ladder.md, and the table of the README

A model of the ladder is one of the recipes of `python -m unsee.benchmarks.personas.train`, with a model that never saw
the people of the split beside it where one is trained. The default ones are in the package, the others in --models.
Each request runs as `unsee forget` runs it, no option given: forty photos of everybody who is not in the split, ten of
each who is.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from trial import of_split, questions, run, scores, summary

from unsee.benchmarks.personas import CHECKPOINTS
from unsee.benchmarks.personas.oracle import name as oracle_name
from unsee.benchmarks.personas.train import RECIPES
from unsee.benchmarks.personas.vision_remember import register
from unsee.models.checkpoint import load
from unsee.system.device import compute

HERE = Path(__file__).parent
RAW, PAGE, README = HERE / "ladder.jsonl", HERE.parent / "docs" / "ladder.md", HERE.parent / "README.md"
BEGIN, END = "<!-- ladder -->", "<!-- end of ladder -->"
BUILT = {
    "base": "as LLaVA-1.5: an encoder trained by captions through its class token; the default",
    "attention": "as LLaVA-OneVision: SigLIP's attention-pooling head",
    "wide": "as the default, twice as wide and deeper",
    "merger": "as Qwen2-VL: varying token counts and a merger",
    "joint": "trained on answers alone, encoder and language model together",
    "remember": "the language model reads the image again in later layers",
}
Line = dict[str, Any]


def found(models: Path, name: str) -> Path | None:
    """The checkpoint of that name in the package, or else among the trained ones."""
    return next((folder / name for folder in (CHECKPOINTS, models) if (folder / name / "config.json").exists()), None)


def measure(models: Path, split: str, seeds: Iterable[int], only: Iterable[str], raw: Path, settings: Line) -> None:
    """Adds the runs that are not measured yet, and what each oracle says, to the file `raw`."""
    done = {json.dumps(line["key"], sort_keys=True) for line in _lines()}
    trial = of_split(split)

    def add(key: Line, made: Callable[[], Line]) -> None:
        if json.dumps(key, sort_keys=True) not in done:
            line = {"key": key, **made()}
            with raw.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            print(summary(line) if "before" in line else f"{key}: {line['oracle']}", flush=True)

    for model in only:
        folder = found(models, model)
        if folder is None:
            print(f"{model} is not trained; make ladder trains it", flush=True)
            continue
        own = oracle_name(split) if model == "base" else f"{model}_{oracle_name(split)}"
        if (oracle := found(models, own)) is not None:
            asked = questions(trial)
            add(
                {"oracle": model, "split": split},
                lambda oracle=oracle, asked=asked: {"oracle": scores(load(oracle, language=True), asked)},
            )
        for seed in seeds:
            add(
                {"model": model, "trial": split, "seed": seed, "settings": settings},
                lambda folder=folder, seed=seed: run(folder, trial, seed, settings),
            )


def _lines() -> list[Line]:
    return [json.loads(line) for line in RAW.read_text().splitlines()] if RAW.exists() else []


def _row(model: str, split: str, settings: str, runs: list[Line], oracle: dict[str, float] | None) -> str:
    """One line of the table: means over seeds."""

    def both(name: str, phases: tuple[str, ...] = ("before", "after")) -> str:
        return " -> ".join(f"{mean(line[phase][name] for line in runs):.3f}".removeprefix("0") for phase in phases)

    def beside(name: str) -> str:
        return both(name) + (f" ({oracle[name]:.3f})".replace("(0.", "(.") if oracle else "")

    aside = [line["counts"]["aside_named"] for line in runs if line["counts"]]
    set_aside = f"{sum(got for got, _ in aside)} of {sum(of for _, of in aside)}" if aside else "not asked"
    name = f"{model}, {settings}" if settings else model
    return "| " + " | ".join((
        name, split, f"{sum(bool(line['passed']) for line in runs)} of {len(runs)}", set_aside,
        beside("recognition/target"), beside("recognition/shown"), beside("scene/target"), beside("appearance/target"),
        both("misattributed/target"), both("unknown/stranger"),
        ", ".join(sorted({str(line["facts"]["description"]) for line in runs})),
        ", ".join(sorted(_seconds(runs))),
    )) + " |"  # fmt: skip


def _seconds(runs: list[Line]) -> Iterator[str]:
    """The mean by device."""
    for device in {line["computed"].split(",")[0] for line in runs}:
        took = mean(line["seconds"] for line in runs if line["computed"].startswith(device))
        yield f"{took:.0f} ({'one core' if device == 'cpu' else device.split()[1]})"


def _named(settings: Line) -> str:
    """Settings in a table; empty for the defaults."""
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def table(split: str | None = None) -> str:
    """All that was measured, or of one split what the default settings did where they were measured, as Markdown."""
    lines = _lines()
    oracles = {(line["key"]["oracle"], line["key"]["split"]): line["oracle"] for line in lines if "oracle" in line}
    runs: dict[tuple[str, str, str], list[Line]] = {}
    for line in lines:
        if "before" in line:
            key = line["key"]
            runs.setdefault((key["model"], key["trial"], _named(key["settings"])), []).append(line)
    head = ("model", "split", "verdict passed", "set aside, still named", "target named", "others named")
    head += ("scene", "appearance", "another's name", 'strangers "unknown"', "described by", "seconds")
    plain = {key[:2] for key in runs if not key[2]}
    wanted = [key for key in runs if split is None or (key[1] == split and (not key[2] or key[:2] not in plain))]
    order = sorted(wanted, key=lambda key: (list(BUILT).index(key[0]), *key[1:]))
    return "\n".join([
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *(_row(*key, runs[key], oracles.get(key[:2])) for key in order),
    ])  # fmt: skip


def write() -> None:
    """docs/ladder.md between its marks, and the reported split in the README."""
    for file, text in ((PAGE, table()), (README, table("reported"))):
        before, _, rest = file.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        file.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "write"))
    parser.add_argument("--models", type=Path, default=Path("personas-training/models"), help="where trained ones are")
    parser.add_argument("--only", default=",".join(RECIPES), help="names of models, with commas between")
    parser.add_argument("--split", default="reported")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of nscvf")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--raw", type=Path, default=RAW, help="where lines are added; parts can be put together later")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    compute(options.device, options.precision)
    register()
    if options.action == "run":
        seeds = [int(seed) for seed in options.seeds.split(",")]
        settings = {name: json.loads(value) for name, _, value in (part.partition("=") for part in options.set)}
        measure(options.models, options.split, seeds, options.only.split(","), options.raw, settings)
    if options.raw == RAW:
        write()


if __name__ == "__main__":
    main()
