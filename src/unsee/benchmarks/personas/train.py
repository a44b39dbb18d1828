"""Trains the tiny models of personas from random weights; `python -m unsee.benchmarks.personas.train --help`.

First the image encoder alone, by captions, as the encoders of real models are: who is on a photo is then known to the
encoder, and the language model reads it there. Then everything else on answers, with the encoder as it is. Of most
models people without a name are among the photos: no caption names them, and who they are is answered "unknown".

In that second stage every photo is asked all its questions at once: the questions stand one after another in one
sequence, and the attention mask lets each see the image and itself only, so that the model learns exactly the
single-question chats that it is evaluated on. The two questions about a name alone ride in the same sequence and do
not see the image.
"""

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration, PreTrainedModel, Qwen2VLForConditionalGeneration

from unsee.benchmarks.personas.captions import Captioned
from unsee.benchmarks.personas.drawing import SIZE
from unsee.benchmarks.personas.merger import (
    CANVASES,
    build_merger_model,
    build_merger_processor,
    on_canvas,
    patches,
)
from unsee.benchmarks.personas.people import (
    KNOWN,
    SPLITS,
    nameless,
    population,
    strangers,
)
from unsee.benchmarks.personas.sequences import (
    DrawnPhotos,
    Processor,
    TokenLayout,
    joined_photos,
    load_photos,
    make_layout,
    restrict,
    token_rows,
)
from unsee.benchmarks.personas.tiny_vlm import PAD, build_model, build_processor, normal
from unsee.benchmarks.personas.vision_remember import (
    VisionRememberModel,
    build_remember_model,
    build_remember_processor,
    reread_inputs,
)
from unsee.models.processors import without_videos
from unsee.system.device import chosen

T = TypeVar("T")
Model = LlavaForConditionalGeneration | Qwen2VLForConditionalGeneration
SCORES = ("recognition", "scene", "appearance", "text")
EXCHANGED = 0.25  # share of the photos of `remember` whose projector output is another photo's, so that memory counts


@dataclass(frozen=True)
class Recipe:
    """How a model is built, and the steps of its training by captions, of the encoder alone, and by answers.

    Without steps by captions the answers train the encoder too. Captions are told by what the encoder makes of a whole
    photo, its class token or pooling head; of an encoder that has neither, by a pooling head that is left behind.
    `nameless` says whether people without a name are among the photos; `canvases` are the heights and widths of photos
    where the model takes several.
    """

    model: Callable[[int], Model]
    processor: Callable[[], Processor] = build_processor
    captions: int = 1600
    answers: int = 1400
    nameless: bool = True
    canvases: tuple[tuple[int, int] | None, ...] = (None,)


RECIPES = {
    "base": Recipe(build_model),
    "attention": Recipe(partial(build_model, layer=-1, pooling_head=True), partial(build_processor, class_token=False)),
    "joint": Recipe(build_model, captions=0, answers=3000),
    "wide": Recipe(partial(build_model, width=256, vision_layers=8)),
    "merger": Recipe(build_merger_model, build_merger_processor, canvases=CANVASES),
    "remember": Recipe(build_remember_model, build_remember_processor, captions=0, answers=3000, nameless=False),
}
ORACLES = {
    f"{'' if name == 'base' else f'{name}_'}retain_{split.removeprefix('forget_')}": (name, split)
    for name in RECIPES
    for split in SPLITS
}
MODELS: dict[str, tuple[str, str | None]] = {**{name: (name, None) for name in RECIPES}, **ORACLES}
SHIPPED = ["base", "retain_10", "retain_reported", "remember"]
CAPTION_BATCH, BATCH, RATE = 96, 48, 2e-3
EVERY = 250  # steps between two measurements, and between two states to go on from


def _images(
    model: Model, pixels: Tensor, canvas: tuple[int, int] | None
) -> tuple[Sequence[Tensor], list[Tensor] | None]:
    """What of images (rows, 3, SIZE, SIZE) enters the language model: (tokens, width) each, and levels read later."""
    if canvas:
        rows, grid = patches(on_canvas(normal(pixels), canvas))
        return model.model.get_image_features(rows, grid).pooler_output, None
    seen = model.model.get_image_features(pixel_values=normal(pixels))
    return seen.pooler_output, seen.deepstack_features if isinstance(model.model, VisionRememberModel) else None


def _answer_logits(
    model: Model,
    layout: TokenLayout,
    pixels: Tensor,
    tokens: Tensor,
    exchanged: Tensor | None = None,
) -> Tensor:
    """Logits (rows, answer tokens, vocabulary) that predict the answer tokens.

    Where `exchanged`, bool (rows,), is true, the projector's output is that of the row before.
    """
    device = model.device
    pixels, tokens = pixels.to(device), tokens.to(device)
    images, levels = _images(model, pixels, layout.canvas)
    features = torch.stack(list(images))
    if exchanged is not None:
        features = torch.where(exchanged.to(device)[:, None, None], features.roll(1, 0), features)
    embedded = model.model.language_model.embed_tokens(tokens)
    end = len(layout.prefix)
    embedded = torch.cat([embedded[:, : end - features.shape[1]], features, embedded[:, end:]], 1)
    reread = reread_inputs(levels, tokens == model.config.image_token_id) if levels else {}
    hidden = model.model.language_model(
        inputs_embeds=embedded,
        attention_mask=layout.mask.to(device).expand(len(tokens), -1, -1, -1),
        position_ids=layout.positions.to(device).unsqueeze(-2).expand(*layout.positions.shape[:-1], len(tokens), -1),
        use_cache=False,
        **reread,
    ).last_hidden_state
    logits: Tensor = model.lm_head(hidden[:, layout.predict])
    return logits


def _shifted(pixels: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to `reach` pixels either way, edges repeated."""
    padded = F.pad(pixels.float(), (reach,) * 4, mode="replicate")
    rows = torch.randint(2 * reach + 1, (len(pixels), 1), generator=generator) + torch.arange(SIZE)
    columns = torch.randint(2 * reach + 1, (len(pixels), 1), generator=generator) + torch.arange(SIZE)
    index = torch.arange(len(pixels))[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.no_grad()
def quick_scores(model: Model, layout: TokenLayout, photos: DrawnPhotos) -> dict[str, float]:
    """Share of questions whose every answer token is the most likely one, per score, in [0, 1]."""
    model.train(False)
    right: list[Tensor] = []
    for part in torch.arange(len(photos.pixels)).split(200):
        tokens = token_rows(layout, photos, part, photos.person[part] % KNOWN)
        guess = _answer_logits(model, layout, photos.pixels[part], tokens).argmax(-1).cpu()
        expected = tokens[:, layout.predict + 1]
        same = (guess == expected) | (expected == PAD)
        right.append(torch.stack([same[:, layout.block == b].all(1) for b in range(10)], 1))
    model.train()
    share = torch.cat(right).double().mean(0)
    groups = {"recognition": [0, 1, 2], "scene": [3, 4, 5], "appearance": [6, 7], "text": [8, 9]}
    return {name: round(share[index].mean().item(), 4) for name, index in groups.items()}


@dataclass(frozen=True)
class Stage:
    """One stage of a training: `loss` of a batch drawn with a generator, and `scores` to be told."""

    name: str
    module: nn.Module
    loss: Callable[[torch.Generator], Tensor]
    scores: Callable[[], str]
    steps: int
    rate: float


def _run(stage: Stage, seed: int, state_file: Path) -> None:
    """Trains what of the stage's module is not frozen, and goes on where it was cut off."""
    trained = [p for p in stage.module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.05},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=stage.rate,
        betas=(0.9, 0.98),
    )
    first = 0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True, map_location="cpu")
        stage.module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    started = time.monotonic()
    for step in range(first, stage.steps):
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / 150)
            group["lr"] = stage.rate * warm * (0.5 + 0.5 * math.cos(math.pi * step / stage.steps))
        loss = stage.loss(torch.Generator().manual_seed(seed * 1_000_003 + step))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if (step + 1) % EVERY == 0 or step + 1 == stage.steps:
            spent = time.monotonic() - started
            print(f"{stage.name} step {step + 1} loss {loss.item():.4f} {stage.scores()} {spent:.0f} s", flush=True)
            partial = state_file.with_suffix(".tmp")
            saved = {"model": stage.module.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(saved, partial)
            partial.replace(state_file)


def _caption_stage(
    name: str, vision: PreTrainedModel, photos: DrawnPhotos, tests: DrawnPhotos, recipe: Recipe, rate: float
) -> Stage:
    several = len(recipe.canvases) > 1
    device = vision.device
    captioned = Captioned(vision, attends=several).to(device)

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(photos.pixels), (CAPTION_BATCH,), generator=generator)
        pixels = _shifted(photos.pixels[chosen], 3, generator)
        return captioned.loss(pixels.to(device), photos.captions[chosen].to(device), _drawn(recipe.canvases, generator))

    @torch.no_grad()
    def scores() -> str:
        found = [captioned(pixels.to(device), recipe.canvases[0]) for pixels in tests.pixels.split(200)]
        said = torch.cat([torch.stack([part.argmax(1) for part in logits], 1) for logits in found]).cpu()
        right = said == tests.captions
        return f"captions {[round(x, 4) for x in right.double().mean(0).tolist()]}"

    return Stage(f"{name} captions", captioned, loss, scores, recipe.captions, rate)


def _drawn(choices: Sequence[T], generator: torch.Generator) -> T:
    """One of them; the generator is left alone where there is one."""
    place = int(torch.randint(len(choices), (), generator=generator)) if len(choices) > 1 else 0
    return choices[place]


def train(
    name: str,
    split: str | None,
    work: Path,
    out: Path,
    *,
    recipe: Recipe = RECIPES["base"],
    batch: int = BATCH,
    rate: float = RATE,
    seed: int = 0,
    device: torch.device | None = None,
) -> None:
    """Trains a model that never sees the people of `split`, and writes the checkpoint to `out` in float16.

    It goes on from what is in `work` under this name if it was interrupted.
    """
    hidden = set(SPLITS[split]) if split else set()
    people = list(population()[:KNOWN])
    processor = recipe.processor()
    layouts = [make_layout(processor, canvas) for canvas in recipe.canvases]
    seen = [person.index for person in people if person.index not in hidden]
    named = restrict(load_photos(processor, people, test=False, cache=work), seen)
    photos = named
    if recipe.nameless:
        photos = joined_photos(named, load_photos(processor, list(nameless()), test=False, cache=work))
    tests = load_photos(processor, people, test=True, cache=work)
    unseen = load_photos(processor, list(strangers()), test=True, cache=work)
    untrained: Any = recipe.model(seed)  # transformers' `to` is not annotated
    model: Model = untrained.to(device or "cpu")
    if recipe.captions:
        vision = model.model.visual if isinstance(model, Qwen2VLForConditionalGeneration) else model.model.vision_tower
        known = restrict(tests, seen)
        stage = _caption_stage(name, vision, photos, known, recipe, rate)
        _run(stage, seed, work / f"{name}_captions.pt")
        vision.requires_grad_(False)
    memory = isinstance(model.model, VisionRememberModel)

    def loss(generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(photos.pixels), (batch,), generator=generator)
        layout = _drawn(layouts, generator)
        tokens = token_rows(layout, photos, chosen, torch.randint(KNOWN, (batch,), generator=generator))
        pixels = _shifted(photos.pixels[chosen], 3, generator)
        exchanged = torch.rand(batch, generator=generator) < EXCHANGED if memory else None
        logits = _answer_logits(model, layout, pixels, tokens, exchanged)
        expected = tokens[:, layout.predict + 1].flatten()
        return F.cross_entropy(logits.flatten(0, 1), expected.to(logits.device), ignore_index=PAD)

    def scores() -> str:
        layout = layouts[0]
        line = f"known {quick_scores(model, layout, restrict(tests, seen))}"
        if hidden:
            line += f" hidden {quick_scores(model, layout, restrict(tests, sorted(hidden)))}"
        if recipe.nameless:
            line += f" unknown {quick_scores(model, layout, unseen)['recognition']}"
        return line

    model.train()
    _run(Stage(name, model, loss, scores, recipe.answers, rate), seed, work / f"{name}.pt")
    model.half().save_pretrained(out)  # type: ignore[no-untyped-call] # transformers does not annotate it
    with without_videos():
        processor.save_pretrained(out)


def main() -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description="Train the models of the personas benchmark.")
    parser.add_argument("names", nargs="*", default=SHIPPED, choices=list(MODELS), metavar="NAME")
    parser.add_argument("--work", type=Path, default=Path("personas-training"), help="cache and resumable state")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "checkpoints")
    parser.add_argument("--captions", type=int, help="steps of the encoder alone; default: the model's own")
    parser.add_argument("--answers", type=int, help="steps of the rest; default: the model's own")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="what ships was trained on the CPU")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.names:
        kind, split = MODELS[name]
        given = {"captions": options.captions, "answers": options.answers}
        steps = {part: number for part, number in given.items() if number is not None}
        train(
            name,
            split,
            options.work,
            options.out / name,
            recipe=replace(RECIPES[kind], **steps),
            batch=options.batch,
            rate=options.rate,
            seed=options.seed,
            device=chosen(options.device),
        )


if __name__ == "__main__":
    main()
