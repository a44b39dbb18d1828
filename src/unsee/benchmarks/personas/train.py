"""Trains the tiny model of personas from random weights; `python -m unsee.benchmarks.personas.train --help`.

Every photo is asked all its questions at once: the questions stand one after another in one sequence, and the
attention mask lets each see the image and itself only, so that the model learns exactly the single-question chats
that it is evaluated on. The two questions about a name alone ride in the same sequence and do not see the image.
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from unsee.benchmarks.personas.drawing import SIZE, draw
from unsee.benchmarks.personas.people import KNOWN, SPLITS, Person, population, shot, test_shots, train_shots
from unsee.benchmarks.personas.questions import image_questions, text_questions
from unsee.benchmarks.personas.tiny_vlm import build_model, build_processor
from unsee.benchmarks.personas.vision_remember import (
    VisionRememberModel,
    build_remember_model,
    build_remember_processor,
    reread_inputs,
)

MODELS = {"base": None, "retain_05": "forget_05", "retain_10": "forget_10", "retain_15": "forget_15", "remember": None}
SCORES = ("recognition", "scene", "appearance", "text")
STEPS = {"remember": 3000}
EXCHANGED = 0.25  # share of the photos of `remember` whose projector output is another photo's, so that memory counts


@dataclass(frozen=True)
class Layout:
    """Where everything stands in the one sequence of a photo; the same for all photos."""

    prefix: list[int]  # <s> <user> and the image tokens
    positions: Tensor  # (length,) int64
    mask: Tensor  # (1, 1, length, length) float32, 0 where a token may look and -inf elsewhere
    predict: Tensor  # (answers,) int64: the positions whose next token is an answer token
    block: Tensor  # (answers,) int64: which question each of them belongs to


def _question_ids(processor: LlavaProcessor, text: str) -> list[int]:
    ids: list[int] = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def photo_blocks(processor: LlavaProcessor, person: Person, number: int, about: Person) -> list[tuple[list[int], int]]:
    """(token ids, how many of them are the answer) of all questions of one row."""
    questions = image_questions(shot(person, number)) + text_questions(about)
    blocks = []
    for question in questions:
        answer = _question_ids(processor, f"{question.answer}</s>")
        blocks.append((_question_ids(processor, f"{question.text}<assistant>") + answer, len(answer)))
    return blocks


def make_layout(processor: LlavaProcessor) -> Layout:
    """The layout shared by every row; names have two words and all other answers one, so the lengths agree."""
    blocks = photo_blocks(processor, population()[0], 0, population()[0])
    start, image = _question_ids(processor, "<user>"), _question_ids(processor, "<image>")
    image *= (SIZE // processor.patch_size) ** 2
    prefix = [processor.tokenizer.bos_token_id, *start, *image]
    length = len(prefix) + sum(len(ids) for ids, _ in blocks)
    allowed = torch.zeros(length, length, dtype=torch.bool)
    allowed[: len(prefix), : len(prefix)] = True
    positions, predict, owner = list(range(len(prefix))), [], []
    for index, (ids, answers) in enumerate(blocks):
        at, seen = len(positions), 2 if index >= len(blocks) - 2 else len(prefix)
        allowed[at : at + len(ids), :seen] = True
        allowed[at : at + len(ids), at : at + len(ids)] = True
        predict += [at + len(ids) - answers - 1 + k for k in range(answers)]
        owner += [index] * answers
        positions += [seen + k for k in range(len(ids))]
    allowed &= torch.ones_like(allowed).tril()
    mask = torch.zeros(length, length).masked_fill(~allowed, -torch.inf)[None, None]
    return Layout(prefix, torch.tensor(positions), mask, torch.tensor(predict), torch.tensor(owner))


@dataclass(frozen=True)
class Photos:
    """All photos of some people: pixels (n, 3, SIZE, SIZE) uint8, and the token blocks of their questions."""

    pixels: Tensor
    person: Tensor  # (n,) int64
    tokens: Tensor  # (n, length of the image blocks) int64
    about: Tensor  # (people, length of the text blocks) int64: the questions by name alone


def load_photos(processor: LlavaProcessor, people: list[Person], *, test: bool, cache: Path) -> Photos:
    """Draws the photos, or takes them from the cache; about 20 s per 5,000."""
    shots = [item for person in people for item in (test_shots if test else train_shots)(person)]
    file = cache / f"pixels_{'test' if test else 'train'}_{len(shots)}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(file, np.stack([np.asarray(draw(item)).transpose(2, 0, 1) for item in shots]))
    tokens, about = [], []
    for item in shots:
        blocks = photo_blocks(processor, item.person, item.number, item.person)
        tokens.append([token for ids, _ in blocks[:-2] for token in ids])
    for person in population()[:KNOWN]:
        about.append([token for ids, _ in photo_blocks(processor, person, 0, person)[-2:] for token in ids])
    owners = torch.tensor([item.person.index for item in shots])
    return Photos(torch.from_numpy(np.load(file)), owners, torch.tensor(tokens), torch.tensor(about))


def _answer_logits(
    model: LlavaForConditionalGeneration,
    layout: Layout,
    pixels: Tensor,
    tokens: Tensor,
    exchanged: Tensor | None = None,
) -> Tensor:
    """Logits (rows, answer tokens, vocabulary) that predict the answer tokens.

    Where `exchanged`, bool (rows,), is true, the projector's output is that of the row before.
    """
    normal = (pixels.float() / 255 - 0.5) / 0.25
    images = model.model.get_image_features(pixel_values=normal)
    features = torch.stack(list(images.pooler_output))
    if exchanged is not None:
        features = torch.where(exchanged[:, None, None], features.roll(1, 0), features)
    embedded = model.model.language_model.embed_tokens(tokens)
    end = len(layout.prefix)
    embedded = torch.cat([embedded[:, : end - features.shape[1]], features, embedded[:, end:]], 1)
    reread = {}
    if isinstance(model.model, VisionRememberModel):
        reread = reread_inputs(images.deepstack_features, tokens == model.config.image_token_id)
    hidden = model.model.language_model(
        inputs_embeds=embedded,
        attention_mask=layout.mask.expand(len(tokens), -1, -1, -1),
        position_ids=layout.positions[None].expand(len(tokens), -1),
        use_cache=False,
        **reread,
    ).last_hidden_state
    logits: Tensor = model.lm_head(hidden[:, layout.predict])
    return logits


def _rows(layout: Layout, photos: Photos, chosen: Tensor, about: Tensor) -> Tensor:
    prefix = torch.tensor(layout.prefix).expand(len(chosen), -1)
    return torch.cat([prefix, photos.tokens[chosen], photos.about[about]], 1)


def _shifted(pixels: Tensor, reach: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to `reach` pixels either way, edges repeated."""
    padded = F.pad(pixels.float(), (reach,) * 4, mode="replicate")
    rows = torch.randint(2 * reach + 1, (len(pixels), 1), generator=generator) + torch.arange(SIZE)
    columns = torch.randint(2 * reach + 1, (len(pixels), 1), generator=generator) + torch.arange(SIZE)
    index = torch.arange(len(pixels))[:, None, None]
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


@torch.no_grad()
def quick_scores(model: LlavaForConditionalGeneration, layout: Layout, photos: Photos) -> dict[str, float]:
    """Share of questions whose every answer token is the most likely one, per score, in [0, 1]."""
    model.eval()
    right: list[Tensor] = []
    for chosen in torch.arange(len(photos.pixels)).split(200):
        tokens = _rows(layout, photos, chosen, photos.person[chosen])
        guess = _answer_logits(model, layout, photos.pixels[chosen], tokens).argmax(-1)
        same = guess == tokens[:, layout.predict + 1]
        right.append(torch.stack([same[:, layout.block == b].all(1) for b in range(10)], 1))
    model.train()
    share = torch.cat(right).double().mean(0)
    groups = {"recognition": [0, 1, 2], "scene": [3, 4, 5], "appearance": [6, 7], "text": [8, 9]}
    return {name: round(share[index].mean().item(), 4) for name, index in groups.items()}


def _restrict(photos: Photos, people: list[int]) -> Photos:
    keep = torch.isin(photos.person, torch.tensor(people))
    return Photos(photos.pixels[keep], photos.person[keep], photos.tokens[keep], photos.about)


def train(name: str, work: Path, out: Path, *, steps: int, batch: int, rate: float, seed: int) -> None:
    """Trains one model, resuming from `work` if it was interrupted, and writes the checkpoint to `out` in float16."""
    split = MODELS[name]
    hidden = set(SPLITS[split]) if split else set()
    people = list(population()[:KNOWN])
    processor = build_remember_processor() if name == "remember" else build_processor()
    layout = make_layout(processor)
    seen = [person.index for person in people if person.index not in hidden]
    photos = _restrict(load_photos(processor, people, test=False, cache=work), seen)
    tests = load_photos(processor, people, test=True, cache=work)
    model = build_remember_model(seed) if name == "remember" else build_model(seed)
    decay = [p for p in model.parameters() if p.ndim > 1]
    other = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.05}, {"params": other, "weight_decay": 0.0}], lr=rate, betas=(0.9, 0.98)
    )
    first, state_file = 0, work / f"{name}.pt"
    if state_file.exists():
        state = torch.load(state_file, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    model.train()
    started = time.monotonic()
    for step in range(first, steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 150) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        chosen = torch.randint(len(photos.pixels), (batch,), generator=generator)
        tokens = _rows(layout, photos, chosen, torch.randint(KNOWN, (batch,), generator=generator))
        pixels = _shifted(photos.pixels[chosen], 3, generator)
        exchanged = torch.rand(batch, generator=generator) < EXCHANGED if name == "remember" else None
        logits = _answer_logits(model, layout, pixels, tokens, exchanged)
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, layout.predict + 1].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 250 == 0 or step + 1 == steps:
            known = quick_scores(model, layout, _restrict(tests, seen))
            line = f"{name} step {step + 1} loss {loss.item():.4f} known {known}"
            if hidden:
                line += f" hidden {quick_scores(model, layout, _restrict(tests, sorted(hidden)))}"
            print(f"{line} {time.monotonic() - started:.0f} s", flush=True)
            partial = state_file.with_suffix(".tmp")
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}, partial)
            partial.replace(state_file)
    model.half().save_pretrained(out)
    processor.save_pretrained(out)


def main() -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description="Train the models that ship with the personas benchmark.")
    parser.add_argument("names", nargs="*", default=list(MODELS), choices=list(MODELS), metavar="NAME")
    parser.add_argument("--work", type=Path, default=Path("personas-training"), help="cache and resumable state")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "checkpoints")
    parser.add_argument("--steps", type=int, help="default: 2200, of remember 3000")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.names:
        train(
            name,
            options.work,
            options.out / name,
            steps=options.steps or STEPS.get(name, 2200),
            batch=options.batch,
            rate=options.rate,
            seed=options.seed,
        )


if __name__ == "__main__":
    main()
