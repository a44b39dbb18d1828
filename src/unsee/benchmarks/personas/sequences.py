"""Photos of personas as training takes them: pixels, and all questions of a photo one after another in one sequence."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import LlavaProcessor, Qwen2VLProcessor

from unsee.benchmarks.personas.drawing import SIZE, draw
from unsee.benchmarks.personas.merger import token_positions
from unsee.benchmarks.personas.people import KNOWN, Person, population, shot, test_shots, train_shots
from unsee.benchmarks.personas.questions import UNKNOWN, image_questions, text_questions
from unsee.benchmarks.personas.tiny_vlm import PAD

Processor = LlavaProcessor | Qwen2VLProcessor
IGNORED = -100  # the label of what has none
CAPTIONED = (0, 3, 4, 5, 6, 7)  # which of the questions about a photo have a caption for each answer; not job and city


@dataclass(frozen=True)
class TokenLayout:
    """Where everything stands in the one sequence of a photo; the same for all photos."""

    prefix: list[int]  # <s> <user> and the image tokens
    positions: Tensor  # (length,) int64; (3, length) of a model that reads an image's rows and columns
    mask: Tensor  # (1, 1, length, length) float32, 0 where a token may look and -inf elsewhere
    predict: Tensor  # (answers,) int64: the positions whose next token is an answer token
    block: Tensor  # (answers,) int64: which question each of them belongs to
    canvas: tuple[int, int] | None = None  # height and width of photos, for a model that takes several


def _question_ids(processor: Processor, text: str) -> list[int]:
    ids: list[int] = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def photo_blocks(processor: Processor, person: Person, number: int, about: Person) -> list[tuple[list[int], int]]:
    """(token ids, how many of them are the answer) of all questions of one row.

    Answers are filled up with <pad> to the length of the longest.
    """
    questions = image_questions(shot(person, number)) + text_questions(about)
    blocks = []
    for question in questions:
        answer = _question_ids(processor, f"{question.answer}</s>")
        longest = max(len(option.split()) for option in question.options) + 1
        answer += [PAD] * (longest - len(answer))
        blocks.append((_question_ids(processor, f"{question.text}<assistant>") + answer, len(answer)))
    return blocks


def make_layout(processor: Processor, canvas: tuple[int, int] | None = None) -> TokenLayout:
    """The layout shared by every row; of a model with a merger, that for photos of this height and width."""
    blocks = photo_blocks(processor, population()[0], 0, population()[0])
    start, image = _question_ids(processor, "<user>"), _question_ids(processor, "<image>")
    first = 1 + len(start)
    if isinstance(processor, Qwen2VLProcessor):
        canvas = canvas or (SIZE, SIZE)
        places, after = token_positions(first, canvas)
    else:
        places = first + torch.arange((SIZE // processor.patch_size) ** 2)
        after = first + len(places)
    prefix = [processor.tokenizer.bos_token_id, *start, *image * places.shape[-1]]
    length = len(prefix) + sum(len(ids) for ids, _ in blocks)
    allowed = torch.zeros(length, length, dtype=torch.bool)
    allowed[: len(prefix), : len(prefix)] = True
    predict, owner, later = list[int](), list[int](), list[int]()
    for index, (ids, answers) in enumerate(blocks):
        by_name = index >= len(blocks) - 2
        at = len(prefix) + len(later)
        allowed[at : at + len(ids), : first if by_name else len(prefix)] = True
        allowed[at : at + len(ids), at : at + len(ids)] = True
        predict += [at + len(ids) - answers - 1 + k for k in range(answers)]
        owner += [index] * answers
        later += [(first if by_name else after) + k for k in range(len(ids))]
    allowed &= torch.ones_like(allowed).tril()
    mask = torch.zeros(length, length).masked_fill(~allowed, -torch.inf)[None, None]
    texts = [torch.tensor(part).expand(*places.shape[:-1], -1) for part in (range(first), later)]
    positions = torch.cat([texts[0], places, texts[1]], -1)
    return TokenLayout(prefix, positions, mask, torch.tensor(predict), torch.tensor(owner), canvas)


@dataclass(frozen=True)
class DrawnPhotos:
    """All photos of some people: pixels (n, 3, SIZE, SIZE) uint8, and the token blocks of their questions."""

    pixels: Tensor
    person: Tensor  # (n,) int64
    tokens: Tensor  # (n, length of the image blocks) int64
    captions: Tensor  # (n, kinds) int64: which caption of each kind is a photo's; IGNORED for who, where nobody knows
    about: Tensor  # (people, length of the text blocks) int64: the questions by name alone


def load_photos(processor: Processor, people: list[Person], *, test: bool, cache: Path) -> DrawnPhotos:
    """Draws the photos, or takes them from the cache; about 20 s per 5,000."""
    shots = [item for person in people for item in (test_shots if test else train_shots)(person)]
    file = cache / f"pixels_{'test' if test else 'train'}_{people[0].index}_{len(shots)}.npy"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(file, np.stack([np.asarray(draw(item)).transpose(2, 0, 1) for item in shots]))
    tokens, captions, about = [], [], []
    for item in shots:
        asked = [image_questions(item)[number] for number in CAPTIONED]
        captions.append([q.options.index(q.answer) if q.answer != UNKNOWN else IGNORED for q in asked])
        blocks = photo_blocks(processor, item.person, item.number, item.person)
        tokens.append([token for ids, _ in blocks[:-2] for token in ids])
    for person in population()[:KNOWN]:
        about.append([token for ids, _ in photo_blocks(processor, person, 0, person)[-2:] for token in ids])
    owners = torch.tensor([item.person.index for item in shots])
    pixels = torch.from_numpy(np.load(file))
    return DrawnPhotos(pixels, owners, torch.tensor(tokens), torch.tensor(captions), torch.tensor(about))


def token_rows(layout: TokenLayout, photos: DrawnPhotos, chosen: Tensor, about: Tensor) -> Tensor:
    prefix = torch.tensor(layout.prefix).expand(len(chosen), -1)
    return torch.cat([prefix, photos.tokens[chosen], photos.about[about]], 1)


def restrict(photos: DrawnPhotos, people: list[int]) -> DrawnPhotos:
    """The photos of some people, by number."""
    keep = torch.isin(photos.person, torch.tensor(people))
    return DrawnPhotos(
        photos.pixels[keep], photos.person[keep], photos.tokens[keep], photos.captions[keep], photos.about
    )


def joined_photos(*parts: DrawnPhotos) -> DrawnPhotos:
    return DrawnPhotos(
        torch.cat([part.pixels for part in parts]),
        torch.cat([part.person for part in parts]),
        torch.cat([part.tokens for part in parts]),
        torch.cat([part.captions for part in parts]),
        parts[0].about,
    )
