"""Images and questions -> what a model takes, through the checkpoint's own processor and chat template."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL.Image import Image, linear_gradient
from PIL.Image import new as new_image
from torch import Tensor
from transformers import ProcessorMixin

from unsee.errors import InputError, UnaskableError
from unsee.models.features import Features, Inputs
from unsee.models.foreign import in_words
from unsee.system.signals import within

if TYPE_CHECKING:
    from unsee.models.checkpoint import Vlm

Question = tuple[Image | None, str]
Shot = tuple[Image | None, str, str]  # a question with its answer

SIGNS, LEAST_SIGNS = 64, 1 << 17  # of a question in its template: for each position of a model; allowed anyway
ASKING = 120.0  # seconds that a processor may take for a batch of questions
# Sizes (width, height) that a processor with a fixed size makes alike, and every other one does not.
PROBES = ((48, 144), (144, 48), (96, 96), (160, 120), (640, 480))
SIDES, OVER = (
    (128, 192, 256, 384, 512, 768, 1024, 1536),
    1.5,
)  # pixels; how many more a photo must have than the processor makes of it


def image_inputs(processor: ProcessorMixin, images: Sequence[Image], name: str = "") -> list[Inputs]:
    """The visual inputs of each RGB image alone; the first axis counts whatever the family makes of one image.

    Raises InputError, with `name` for where the image came from, for one that the processor cannot take.
    """
    return [_alone(processor, image, name) for image in images]


def _alone(processor: ProcessorMixin, image: Image, name: str) -> Inputs:
    what = name or f"an image of {image.width} x {image.height} pixels"
    with in_words(f"the model's processor cannot take {what}", "remove it"), np.errstate(all="ignore"):
        made = processor.image_processor(images=[image], return_tensors="pt", **as_asked(processor))
    named = {"pixel_values": made} if isinstance(made, Tensor) else dict(made)  # Idefics gives the bare tensor
    found = {}
    for key, value in named.items():
        if isinstance(value, Tensor | np.ndarray | list):
            tensor = torch.as_tensor(np.asarray(value)) if not isinstance(value, Tensor) else value
            found[key] = tensor[None] if tensor.dim() == 0 else tensor
    odd = next((key for key, tensor in found.items() if not torch.isfinite(tensor).all()), None)
    if odd is not None:
        raise InputError(
            f"the model's processor makes NaN or Inf of {what} ({odd}); copy the processor's files here again."
        )
    return found


def as_asked(processor: ProcessorMixin) -> dict[str, Any]:
    """What the processor itself tells its image processor when a question is asked, beside what that one has saved."""
    older = getattr(processor.valid_processor_kwargs, "_defaults", {}).get("images_kwargs", {})
    told = {**getattr(processor, "images_kwargs", {}), **older}
    return {name: value for name, value in told.items() if name != "return_tensors"}


def tokens_vary(processor: ProcessorMixin) -> bool:
    """Whether the number of tokens may depend on the image's size, judged by what the processor makes of some sizes.

    Shapes say so, and integers: where patches stand, or how many of those that are padded are real.
    """
    first, *others = image_inputs(processor, [new_image("RGB", size, (90, 120, 150)) for size in PROBES])
    return any(
        one.shape != other[name].shape or (not one.is_floating_point() and not torch.equal(one, other[name]))
        for other in others
        for name, one in first.items()
    )


def signature(processor: ProcessorMixin) -> tuple[float, ...]:
    """Numbers by which processors are told apart: how much they make of one picture, and its mean and deviation.

    With the same settings they are the same to a hundredth, whatever library resizes.
    """
    (made,) = image_inputs(processor, [linear_gradient("L").convert("RGB").resize((160, 120))])
    numbers = list[float]()
    for _, value in sorted(made.items()):
        numbers.append(value.numel())
        if value.is_floating_point():
            numbers += [float(value.mean()), float(value.std())]
    return tuple(numbers)


def enough(processor: ProcessorMixin, image: Image, most: int) -> int:
    """The longest side, in pixels, that a photo such as this one needs for the processor to make as much of it.

    One of SIDES, or `most` where none is enough.
    """

    def made(side: int) -> tuple[int, int]:
        small = image.copy()
        small.thumbnail((side, side))
        inputs = _alone(processor, small, "")
        return small.width * small.height, sum(v.numel() for v in inputs.values() if v.is_floating_point())

    if max(image.size) <= SIDES[0]:
        return most
    _, whole = made(most)
    for side in (side for side in SIDES if side < min(most, max(image.size))):
        pixels, numbers = made(side)
        if numbers == whole and 3 * pixels >= OVER * numbers:
            return side
    return most


def check_tokens(vlm: "Vlm", image: Image, features: Features) -> None:
    """Raises InputError where the processor makes room for another number of image tokens than the first image has."""
    facts = vlm.model.config.to_dict()
    token = facts.get("image_token_id", facts.get("image_token_index"))
    if token is None or "projector" not in features.counts:
        return
    try:
        ids = chat_inputs(vlm, [(image, "?")])["input_ids"]
    except InputError:  # it need not be able to ask questions
        return
    room, come = int((ids == token).sum()), int(features.counts["projector"][0])
    if room > 1 and room != come:
        raise InputError(
            f"the processor in {vlm.folder} makes room for {room} tokens of an image of which the model makes {come}; "
            "give the processor that belongs to the model."
        )


def chat_inputs(vlm: "Vlm", questions: Sequence[Question], shots: Sequence[Sequence[Shot]] = ()) -> Inputs:
    """Left-padded inputs of a batch for `generate`, on the model's device.

    Each question is in the checkpoint's chat template, with its image. `shots` are, for each question, others that are
    asked and answered before it, turn by turn. Without a template, questions are asked as they are. Either all
    questions have an image or none. Everything the processor makes is passed on, as the model needs it. Raises
    UnaskableError where processor and tokenizer do not fit each other, and InputError for shots without a template.
    """
    if shots and not vlm.processor.chat_template:
        raise InputError(f"the processor in {vlm.folder} has no chat template to show examples in; ask zero-shot.")
    options = {"padding": True, "padding_side": "left"}
    token = getattr(vlm.processor, "image_token", None)
    held = bool(token) and any(str(token) in text for _, text in questions)
    then = f"leave {token} out of the question: it stands for the photo" if held else "copy its files here again"
    what = f"the processor in {vlm.folder} cannot make a question of an image and a text"
    with (
        in_words(what, then, UnaskableError),
        within(ASKING),
    ):
        if not vlm.processor.chat_template:
            images = [image for image, _ in questions if image is not None]
            texts = [text for _, text in questions]
            batch = vlm.processor(images=images or None, text=texts, return_tensors="pt", **options)
        else:
            chats = [_turns(*pair) for pair in zip(shots or [()] * len(questions), questions, strict=True)]
            _check_length(vlm, chats[0])
            batch = vlm.processor.apply_chat_template(
                chats,
                tokenize=True,
                add_generation_prompt=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs=options,
            )
    return {
        name: value.to(vlm.device) for name, value in batch.items() if isinstance(value, Tensor) and name != "labels"
    }


def context(vlm: "Vlm") -> int | None:
    """How many tokens the language model has room for, as its config says; None where it says nothing."""
    found = getattr(vlm.model.config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


def _check_length(vlm: "Vlm", chat: list[dict[str, Any]]) -> None:
    """Raises UnaskableError where the template makes far more of a question than the model can take.

    A tokenizer would take gigabytes for it.
    """
    text = vlm.processor.apply_chat_template([chat], tokenize=False, add_generation_prompt=True)[0]
    most = max(SIGNS * (context(vlm) or 0), LEAST_SIGNS)
    if len(text) > most:
        raise UnaskableError(
            f"the chat template in {vlm.folder} makes {len(text):,} signs of one question; expected at most {most:,}, "
            "so copy it here again."
        )


def _turns(shots: Sequence[Shot], question: Question) -> list[dict[str, Any]]:
    """A chat as templates take it."""

    def turn(role: str, image: Image | None, text: str) -> dict[str, Any]:
        picture = [] if image is None else [{"type": "image", "image": image}]
        return {"role": role, "content": [*picture, {"type": "text", "text": text}]}

    turns = [turn for image, asked, said in shots for turn in (("user", image, asked), ("assistant", None, said))]
    return [turn(*parts) for parts in [*turns, ("user", *question)]]
