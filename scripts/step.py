"""What a step costs without the language model: a loss on features against a loss on answers.

    python scripts/step.py
    python scripts/step.py --only personas --repeats 20
    python scripts/step.py --against bfloat16    # the same features in float32 against bfloat16

Both steps see the same images and take the gradient of the same visual weights, in float32; no optimizer runs. The
answers' loss goes through the frozen language model, with a question and an answer of 16 tokens each behind the image.
The two take turns in one process, and the ratio is the median of the ratios of neighbours.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn import functional as F
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, PreTrainedModel

from unsee.benchmarks import personas
from unsee.models.checkpoint import load, visual_parameters
from unsee.models.features import Inputs, visual_features
from unsee.models.locate import locate
from unsee.system.device import computing

QUESTION, ANSWER = 16, 16  # tokens


def shipped() -> PreTrainedModel:
    """The base model of personas."""
    return load(personas.CHECKPOINTS / "base", language=True).model


def random_llava() -> PreTrainedModel:
    """A LLaVA with the vision of ViT-B/16 at 224 pixels and a small Llama, random weights."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        image_size=224,
        patch_size=16,
        projection_dim=512,
    )
    text = LlamaConfig(
        vocab_size=2000, hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12
    )
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=1999))
    return model.eval().requires_grad_(False)


MODELS: dict[str, Callable[[], PreTrainedModel]] = {"personas": shipped, "llava_random": random_llava}


def questions(model: PreTrainedModel, images: int, tokens: int) -> dict[str, Tensor]:
    """Inputs of the language model: image tokens, then random text; only the answer has labels."""
    token = model.config.image_token_index
    words = torch.arange(model.config.text_config.vocab_size)
    words = words[words != token]
    text = words[torch.randint(len(words), (images, QUESTION + ANSWER))]
    ids = torch.cat([torch.full((images, tokens), token), text], dim=1)
    labels = ids.clone()
    labels[:, :-ANSWER] = -100
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def seconds(loss: Callable[[], Tensor], weights: Sequence[Parameter]) -> float:
    """How long one forward and backward pass takes."""
    for weight in weights:
        weight.grad = None
    started = time.perf_counter()
    loss().backward()
    return time.perf_counter() - started


def compare(model: PreTrainedModel, images: int, repeats: int, against: str) -> tuple[int, int, float, float, float]:
    """Visual and all parameters, seconds of a step on features and of the other one, and the other over it."""
    torch.manual_seed(0)
    partition = locate(model, "model")
    weights = list(visual_parameters(model, partition).values())
    for weight in weights:
        weight.requires_grad_(True)
    side = model.config.vision_config.image_size
    pixels = torch.randn(images, 3, side, side)
    each: list[Inputs] = [{"pixel_values": pixel[None]} for pixel in pixels]
    with torch.no_grad():
        goal = visual_features(model, each).values["projector"] + 1
    asked = questions(model, images, goal.shape[1])

    def without() -> Tensor:
        return F.mse_loss(visual_features(model, each).values["projector"], goal)

    def through() -> Tensor:
        loss: Tensor = model(pixel_values=pixels, **asked).loss
        return loss

    def half() -> Tensor:
        with computing(precision="bfloat16"):
            return without()

    other = through if against == "answers" else half
    pairs = [(seconds(without, weights), seconds(other, weights)) for _ in range(repeats + 1)][1:]
    short, long = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(after / before for before, after in pairs)
    return sum(w.numel() for w in weights), model.num_parameters(), short, long, ratio


def main() -> None:
    """Prints one row per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(MODELS))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--against", choices=("answers", "bfloat16"), default="answers")
    options = parser.parse_args()
    print(f"| model | visual parameters | all parameters | features, s | {options.against}, s | ratio |")
    print("|---|---|---|---|---|---|", flush=True)
    for name in options.only.split(","):
        visual, whole, short, long, ratio = compare(MODELS[name](), options.batch, options.repeats, options.against)
        shown = f"{visual / 1e6:.1f} M | {whole / 1e6:.1f} M | {short:.3f} | {long:.3f} | {ratio:.2f}"
        print(f"| {name} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
