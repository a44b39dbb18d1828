"""Runs the released package erasus on personas: its public API, its own training loop; see the README beside this file.

peers/bin/python scripts/peers/run_erasus.py --split forget_15 --rate 0.01
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from erasus import ErasusUnlearner
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from unsee.benchmarks import personas
from unsee.benchmarks.benchmark import thinned
from unsee.cli.quiet import quiet
from unsee.data import open_image
from unsee.evaluation.evaluate import ask, evaluate
from unsee.experiments.comparison import record
from unsee.models.checkpoint import load
from unsee.models.inputs import chat_inputs
from unsee.records import Sample
from unsee.system.timing import peak_rss_mb

SHOTS = 10  # photos of each retained person
QUESTION = "Who is this?"


class Answering(nn.Module):
    """The whole model as a classifier of next tokens: rows of `table` in, logits of the tokens behind them out."""

    def __init__(self, vlm: Any, samples: list[Sample]) -> None:
        super().__init__()
        self.model, tokenizer = vlm.model, vlm.processor.tokenizer
        questions = [(open_image(sample.image), QUESTION) for sample in samples if sample.image is not None]
        asked = chat_inputs(vlm, questions)
        answers = tokenizer([f"{sample.concept}</s>" for sample in samples], add_special_tokens=False)["input_ids"]
        ids = torch.cat([asked["input_ids"], torch.tensor(answers)], 1)
        self.register_buffer("pixels", asked["pixel_values"], persistent=False)
        self.register_buffer("ids", ids, persistent=False)
        labels = torch.full_like(ids, -100)  # what cross_entropy leaves out
        labels[:, asked["input_ids"].shape[1] - 1 : -1] = torch.tensor(answers)
        self.labels = labels

    def forward(self, rows: Tensor) -> SimpleNamespace:
        """Logits (row, token, vocabulary) for rows (n,) int64."""
        ids = self.ids[rows]
        output = self.model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=self.pixels[rows])
        return SimpleNamespace(logits=output.logits)


def loader(labels: Tensor, rows: Iterable[int]) -> DataLoader[Any]:
    """Batches of 32 (rows, labels)."""
    places = torch.tensor(list(rows))
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(places, labels[places]), batch_size=32, shuffle=True, generator=generator)


def main() -> None:
    """Prints one line of JSON: scores after, and what was asked of erasus."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", default="forget_15")
    parser.add_argument("--strategy", default="gradient_ascent")
    parser.add_argument("--rate", type=float, help="erasus's own where none is given")
    parser.add_argument("--epochs", type=int, help="erasus's own where none is given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--thin", type=int, default=1, help="ask about every so many retained test photos alone")
    parser.add_argument("--bench", type=Path, help="write a cell of this folder of unsee bench, too")
    options = parser.parse_args()
    quiet()
    torch.manual_seed(options.seed)
    bench = personas.load(options.split)
    people: dict[str, list[Sample]] = {}
    for sample in bench.retained:
        people.setdefault(sample.concept, []).append(sample)
    retained = [sample for photos in people.values() for sample in photos[:SHOTS]]
    vlm = load(personas.CHECKPOINTS / "base", language=True)
    model = Answering(vlm, [*bench.target, *retained]).requires_grad_(True)
    count, started = len(bench.target), time.monotonic()
    unlearner = ErasusUnlearner(
        model,
        strategy=options.strategy,
        device="cpu",
        strategy_kwargs={} if options.rate is None else {"lr": options.rate},
    )
    result = unlearner.fit(
        forget_data=loader(model.labels, range(count)),
        retain_data=loader(model.labels, range(count, len(model.labels))),
        **({} if options.epochs is None else {"epochs": options.epochs}),
    )
    seconds = time.monotonic() - started
    peak, asked = peak_rss_mb(), thinned(bench, options.thin)
    before = ask(personas.CHECKPOINTS / "base", asked)
    with tempfile.TemporaryDirectory() as folder:
        result.model.model.half().save_pretrained(folder)
        vlm.processor.save_pretrained(folder)
        measured = evaluate(folder, asked, before=before, oracle=bench.oracle)
    if options.bench is not None:
        cell = options.bench / "erasus" / f"{options.split}_{options.seed}"
        cell.mkdir(parents=True)
        timings = {"forget_s": round(seconds, 1), "peak_rss_mb": peak}
        trained = sum(parameter.numel() for parameter in model.parameters())
        record(cell, "erasus", asked, before, measured, timings, trained=trained)
    scores = {f"{s.name}/{s.subset}": round(s.value, 4) for s in measured.scores if s.phase == "after"}
    given = {name: str(value) for name, value in vars(options).items() if value is not None}
    checks = {check.name: check.passed for check in measured.checks}
    print(json.dumps({"erasus": given, "forget_s": round(seconds, 1), **scores, **checks}))


if __name__ == "__main__":
    main()
