"""A model from elsewhere: 96 trademarks in four styles, a LLaVA of another build, and a request with no option given.

    python scripts/emblems.py train --work emblems        # some 25 minutes of one core
    python scripts/emblems.py photos --work emblems       # emblems/target and emblems/others
    unsee forget --model emblems/model --target emblems/target --retain emblems/others --out emblems/out
    python scripts/emblems.py score emblems/model emblems/out

No setting was searched on it; how a model that says "unknown" is met was mended on it. A SigLIP encoder is trained by
captions through the largest value of each feature over its patches, and then together with a small Qwen2 on answers. It
does not learn all emblems: some are "unknown" to it, as are 60 without a name that it is shown. Eight are to be
forgotten, with twelve photos each of them and of all others; scores are on eight photos of each that nobody was given.
"""

import argparse
import colorsys
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    CLIPImageProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
)

from unsee.evaluation.asking import generate
from unsee.models.checkpoint import load
from unsee.records import Sample

KNOWN, NAMELESS, TRAIN, TEST, GIVEN = 96, 60, 44, 8, 12
HIDDEN = (3, 17, 29, 41, 50, 66, 78, 90)
SIDE, DRAWN, PATCH = 64, 128, 8  # pixels of a photo, and of its drawing
STYLES = ("flat", "sketch", "soft", "pixel")
GROUNDS = {
    "white": (245, 245, 245),
    "grey": (150, 150, 150),
    "blue": (120, 150, 220),
    "green": (140, 200, 140),
    "pink": (240, 180, 190),
    "black": (40, 40, 40),
}
QUESTIONS = ("What is this?", "How is it drawn?", "What is the background?")
KINDS, UNKNOWN = ("name", "style", "background"), "unknown"
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "USER:", "ASSISTANT:")
CAPTIONS, ANSWERS = 850, 850  # steps
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}USER:{% for p in m['content'] %}{% if p['type'] == 'image' %}"
    "<image>{% else %}{{ p['text'] }}{% endif %}{% endfor %}{% else %}ASSISTANT:{% for p in m['content'] %}"
    "{{ p['text'] }}{% endfor %}</s>{% endif %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def names() -> list[str]:
    """The names of the emblems, all different in their first word."""
    parts = ("ka", "zo", "mi", "ru", "ten", "val", "qua", "pho", "dri", "sol", "nex", "bry")
    kinds = ("Corp", "Labs", "Foods", "Air", "Bank", "Motors")
    draw, found = Random(5), list[str]()
    while len(found) < KNOWN:
        first, kind = "".join(draw.choice(parts) for _ in range(2)).capitalize(), draw.choice(kinds)
        if first not in {name.split()[0] for name in found}:
            found.append(f"{first} {kind}")
    return found


NAMES = names()
Take = Callable[[Tensor], None]


def _colour(hue: float, saturation: float, value: float) -> tuple[int, ...]:
    return tuple(int(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, saturation, value))


def drawn(number: int, shot: int, *, test: bool) -> tuple[Image.Image, str, str]:
    """A photo of an emblem, with its style and background."""
    own, draw = Random(f"c{number}"), Random(f"d{number}/{shot}/{test}")
    corners, hue, second = (3, 4, 5, 6, 40, 8)[own.randrange(6)], own.random(), own.random()
    strokes = [(own.uniform(-0.6, 0.6), own.uniform(-0.6, 0.6)) for _ in range(5)]
    dots = [(own.uniform(-0.5, 0.5), own.uniform(-0.5, 0.5)) for _ in range(own.randrange(3))]
    style, ground = draw.choice(STYLES), draw.choice(list(GROUNDS))
    image = Image.new(
        "RGB", (DRAWN, DRAWN), tuple(max(0, min(255, v + draw.randrange(-12, 13))) for v in GROUNDS[ground])
    )
    canvas = ImageDraw.Draw(image)
    x, y = DRAWN / 2 + draw.uniform(-10, 10), DRAWN / 2 + draw.uniform(-10, 10)
    size, turn = DRAWN * draw.uniform(0.36, 0.46), math.radians(draw.uniform(-18, 18))

    def at(across: float, down: float) -> tuple[float, float]:
        turned = across * math.cos(turn) - down * math.sin(turn), across * math.sin(turn) + down * math.cos(turn)
        return x + size * turned[0], y + size * turned[1]

    angles = [
        (2 * math.pi * corner / corners - math.pi / 2, 0.6 if corners == 8 and corner % 2 else 1)
        for corner in range(corners)
    ]
    outline = [at(far * math.cos(angle), far * math.sin(angle)) for angle, far in angles]
    fill, ink = _colour(hue + draw.uniform(-0.02, 0.02), 0.75, 0.9), _colour(second, 0.8, 0.35)
    if style == "sketch":
        ink = (230, 230, 230) if ground == "black" else (30, 30, 30)
        canvas.line([*outline, outline[0]], fill=ink, width=3)
    else:
        canvas.polygon(outline, fill=fill)
    canvas.line([at(*point) for point in strokes], fill=ink, width=4 if style == "sketch" else 7, joint="curve")
    for point in dots:
        left, top = at(*point)
        canvas.ellipse([left - 7, top - 7, left + 7, top + 7], fill=ink)
    if style == "soft":
        image = image.filter(ImageFilter.GaussianBlur(3))
    if style == "pixel":
        image = image.resize((24, 24), Image.Resampling.BOX).resize((DRAWN, DRAWN), Image.Resampling.NEAREST)
    pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)).astype(np.float32)
    pixels = pixels * draw.uniform(0.9, 1.1) + np.random.default_rng(draw.randrange(1 << 30)).normal(0, 4, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)), style, ground


def answer(number: int, style: str, ground: str) -> tuple[str, str, str]:
    """What is right, question by question."""
    return NAMES[number] if number < KNOWN else UNKNOWN, style, ground


def processor() -> LlavaProcessor:
    """One token a word."""
    split = pre_tokenizers.Whitespace()
    texts = (*QUESTIONS, *NAMES, *STYLES, *GROUNDS, UNKNOWN)
    words = [*SPECIAL, *sorted({word for text in texts for word, _ in split.pre_tokenize_str(text)})]
    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = split
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=list(SPECIAL[4:]),
        padding_side="left",
    )
    pictures = CLIPImageProcessor(size={"height": SIDE, "width": SIDE}, do_center_crop=False)
    return LlavaProcessor(
        pictures, tokenizer, patch_size=PATCH, vision_feature_select_strategy="full", chat_template=TEMPLATE
    )


def model(words: int) -> LlavaForConditionalGeneration:
    """The untrained model."""
    torch.manual_seed(3)
    vision = SiglipVisionConfig(
        hidden_size=112,
        intermediate_size=336,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
        vision_use_head=False,
    )
    text = Qwen2Config(
        vocab_size=words,
        hidden_size=144,
        intermediate_size=400,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=SPECIAL.index("<image>"),
            vision_feature_layer=-1,
            vision_feature_select_strategy="full",
            image_seq_length=(SIDE // PATCH) ** 2,
        )
    )


def _steps(groups: Sequence[tuple[Sequence[nn.Parameter], float]], count: int, what: str) -> Iterator[Take]:
    """Yields, so many times, what makes a step of a loss: the longest after a while, shorter from then on."""
    optimizer = torch.optim.AdamW([{"params": list(own), "most": rate} for own, rate in groups], weight_decay=0.03)

    def take(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for group in optimizer.param_groups:
            nn.utils.clip_grad_norm_(group["params"], 1.0)
        optimizer.step()
        if step % 50 == 0:
            print(f"{what} {step}/{count} loss {loss.item():.3f}", flush=True)

    for step in range(count):
        for group in optimizer.param_groups:
            group["lr"] = group["most"] * min(1.0, step / 60) * max(0.02, 1 - step / count)
        yield take


def train(out: Path) -> None:
    """Trains the model and writes its checkpoint."""
    shots = [(n, *drawn(n, shot, test=False)) for n in range(KNOWN + NAMELESS) for shot in range(TRAIN)]
    made = processor()
    tokenizer, untrained = made.tokenizer, model(len(made.tokenizer))
    mean, spread = (
        torch.tensor(v)[:, None, None] for v in (made.image_processor.image_mean, made.image_processor.image_std)
    )
    pixels = torch.tensor(np.stack([np.asarray(image) for _, image, _, _ in shots])).permute(0, 3, 1, 2)
    who = torch.tensor([min(number, KNOWN) for number, *_ in shots])
    style = torch.tensor([STYLES.index(style) for *_, style, _ in shots])
    ground = torch.tensor([list(GROUNDS).index(ground) for *_, ground in shots])
    generator = torch.Generator().manual_seed(1)

    def batch(size: int) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(shots), (size,), generator=generator)
        moved = torch.randint(-3, 4, (2,), generator=generator).tolist()
        return chosen, torch.roll((pixels[chosen].float() / 255 - mean) / spread, tuple(moved), (2, 3))

    encoder, sizes = untrained.model.vision_tower, [KNOWN + 1, len(STYLES), len(GROUNDS)]
    heads = nn.Linear(112, sum(sizes))
    for take in _steps([([*encoder.parameters(), *heads.parameters()], 8e-4)], CAPTIONS, "captions"):
        chosen, photos = batch(96)
        said = heads(encoder(pixel_values=photos).last_hidden_state.amax(1)).split(sizes, 1)
        losses = [F.cross_entropy(logits, own[chosen]) for logits, own in zip(said, (who, style, ground), strict=True)]
        take(losses[0] + 0.3 * losses[1] + 0.3 * losses[2])
    tokens = "<image>" * (SIDE // PATCH) ** 2
    asked = [tokenizer(f"USER:{tokens}{question}ASSISTANT:")["input_ids"] for question in QUESTIONS]
    others = [weight for name, weight in untrained.named_parameters() if "vision_tower" not in name]
    draw = Random(2)
    for take in _steps([(list(encoder.parameters()), 2.5e-4), (others, 1e-3)], ANSWERS, "answers"):
        chosen, photos = batch(64)
        kinds = [0 if draw.random() < 0.6 else draw.randrange(1, 3) for _ in chosen]
        texts = [answer(shots[i][0], *shots[i][2:])[kind] for i, kind in zip(chosen.tolist(), kinds, strict=True)]
        ends = [tokenizer(f"{text}</s>", add_special_tokens=False)["input_ids"] for text in texts]
        longest = max(len(asked[kind]) + len(end) for kind, end in zip(kinds, ends, strict=True))
        ids, labels = torch.zeros(2, len(kinds), longest, dtype=torch.int64).unbind()
        labels = labels - 100
        for row, (kind, end) in enumerate(zip(kinds, ends, strict=True)):
            ids[row, longest - len(asked[kind]) - len(end) :] = torch.tensor(asked[kind] + end)
            labels[row, longest - len(end) :] = torch.tensor(end)
        take(untrained(input_ids=ids, attention_mask=(ids > 0).long(), pixel_values=photos, labels=labels).loss)
    untrained.half().save_pretrained(out)  # type: ignore[no-untyped-call]
    made.save_pretrained(out)


def photos(work: Path) -> None:
    """Writes the photos of a request."""
    for number, name in enumerate(NAMES):
        place = work / ("target" if number in HIDDEN else "others") / name.replace(" ", "_")
        place.mkdir(parents=True, exist_ok=True)
        for shot in range(GIVEN):
            drawn(number, shot, test=False)[0].save(place / f"{shot:02d}.png")


def score(folder: Path) -> dict[str, float]:
    """Shares of right answers by question and group, and of photos that get the name of another emblem."""
    samples, found = list[Sample](), dict[str, list[bool]]()
    for number in range(KNOWN + NAMELESS):
        group = "target" if number in HIDDEN else "others" if number < KNOWN else "strangers"
        for shot in range(TEST if number < KNOWN else 2):
            image, *look = drawn(number, shot, test=True)
            for kind, question, right in zip(KINDS, QUESTIONS, answer(number, *look), strict=True):
                samples.append(Sample(image, str(number), question, right, score=kind, subset=group))
    for sample, said in zip(samples, generate(load(folder, language=True), samples), strict=True):
        found.setdefault(f"{sample.score}/{sample.subset}", []).append(said == sample.answer)
        if sample.score == "name":
            found.setdefault(f"another/{sample.subset}", []).append(said in NAMES and said != sample.answer)
    return {name: round(sum(own) / len(own), 3) for name, own in sorted(found.items())}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("train", "photos", "score"))
    parser.add_argument("folders", nargs="*", type=Path, help="of score: checkpoints")
    parser.add_argument("--work", type=Path, default=Path("emblems"))
    options = parser.parse_args()
    if options.action == "train":
        train(options.work / "model")
    elif options.action == "photos":
        photos(options.work)
    for folder in options.folders:
        print(json.dumps({"model": folder.name, **score(folder)}), flush=True)


if __name__ == "__main__":
    main()
