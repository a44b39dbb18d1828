"""Answers of the whole model: what it says of an image, and how likely a given answer is, with gradient."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import GenerationMixin, LogitsProcessor

from unsee.errors import InputError
from unsee.models.checkpoint import Vlm
from unsee.models.features import Inputs
from unsee.models.foreign import in_words
from unsee.models.inputs import chat_inputs

Questions = Sequence[tuple[Image | None, str]]
NOTHING: Mapping[str, Tensor] = MappingProxyType({})
TYPE_OF_ANSWER = {"paligemma": 1}  # `token_type_ids` of what is generated, by family; 0 elsewhere


class Finite(LogitsProcessor):
    """Raises InputError where a model's scores are no numbers, as those of damaged weights or settings are.

    Some families set the scores of what may not be said to minus infinity.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 # the signature is given
        if not bool((scores < torch.inf).all()):  # nor is NaN
            raise InputError(
                f"the model in {self.folder} answers with numbers that are none (NaN or Inf): its weights or its "
                "config are damaged; copy it here again."
            )
        return scores


def check_language(vlm: Vlm) -> None:
    """Raises InputError where the language model was not opened."""
    if any(parameter.is_meta for parameter in vlm.model.parameters()):
        raise InputError(f"{vlm.folder} was opened without its language model; open it with language=True.")


@torch.no_grad()
def say(vlm: Vlm, questions: Questions, tokens: int, changed: Mapping[str, Tensor] = NOTHING) -> list[str]:
    """Greedy answers of at most so many tokens; either all questions have an image or none.

    `changed` stand in the place of what the processor makes, as pixels that were moved do.
    """
    tokenizer = vlm.processor.tokenizer
    inputs: Inputs = {**chat_inputs(vlm, questions), **changed}
    with in_words(f"the processor and the model in {vlm.folder} do not fit", "copy both here again"):
        output = generated(
            vlm.model, **inputs, logits_processor=[Finite(vlm.folder)], pad_token_id=tokenizer.pad_token_id,
            max_new_tokens=tokens,
        )  # fmt: skip
    return decoded(vlm, inputs, output)


def generated(model: Any, **given: Any) -> Any:
    """What the model's `generate` gives; that of Janus leaves out `logits_processor`, so that the general one is taken.

    Of the two modes of Janus, which can also draw, it is the one of text.
    """
    if model.config.model_type == "janus":
        return GenerationMixin.generate(model, **given)
    return model.generate(**given)


def decoded(vlm: Vlm, inputs: Inputs, output: Tensor) -> list[str]:
    """The text of generated tokens (n, length), without the question."""
    asked = inputs["input_ids"]
    if output.shape[1] >= asked.shape[1] and torch.equal(output[:, : asked.shape[1]], asked):
        output = output[:, asked.shape[1] :]  # some families give the new tokens alone
    return [text.strip() for text in vlm.processor.tokenizer.batch_decode(output.cpu(), skip_special_tokens=True)]


def padded(vlm: Vlm, rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Rows of tokens as one tensor (n, length) int64 on the model's device, and which of them are real, 1 or 0."""
    longest, pad, device = max(map(len, rows)), vlm.processor.tokenizer.pad_token_id or 0, vlm.device
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    real = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids.to(device), real.to(device)


def followed(vlm: Vlm, inputs: Inputs, ids: Tensor, real: Tensor) -> Inputs:
    """The inputs of questions with an answer's tokens (n, length) behind each, of which those that are `real` count.

    What each token sees of the images is for those of the answer what it is for the question's last.
    """
    kind = torch.full_like(ids, TYPE_OF_ANSWER.get(vlm.model.config.model_type, 0))
    asked, more = inputs["input_ids"], {"input_ids": ids, "attention_mask": real, "token_type_ids": kind}

    def longer(name: str, value: Tensor) -> Tensor:
        if value.shape == asked.shape:
            return torch.cat([value, more.get(name, torch.zeros_like(ids)).to(value.dtype)], 1)
        if value.dim() > 2 and value.shape[:2] == asked.shape and name.endswith("mask"):
            return torch.cat([value, *[value[:, -1:]] * ids.shape[1]], 1)
        return value

    return {name: longer(name, value) for name, value in inputs.items()}


def answer_log_probabilities(
    vlm: Vlm, questions: Questions, answers: Sequence[str], changed: Mapping[str, Tensor] = NOTHING
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities (n, length, vocabulary) of each answer's tokens and its end, these tokens, and which count.

    Without the end where the tokenizer has none, or one that was added and that the model does not know; raises
    InputError where an answer is nothing but such an end.
    Tokens (n, length) int64, padded; real (n, length), 1 or 0. With gradient by what requires it, the weights or
    `changed`, which stand in the place of what the processor makes. Either all questions have an image or none.
    """
    tokenizer = vlm.processor.tokenizer
    inputs: Inputs = {**chat_inputs(vlm, questions), **changed}
    asked = inputs["input_ids"]
    last, known = tokenizer.eos_token_id, vlm.model.config.get_text_config().vocab_size
    end = [] if last is None or last >= known else [last]
    rows = [tokenizer(answer, add_special_tokens=False)["input_ids"] + end for answer in answers]
    if last is not None and last >= known and not all(rows):
        raise InputError(
            f"the processor and the model in {vlm.folder} do not fit (the tokenizer ends answers with "
            f"{tokenizer.eos_token!r}, which the model does not know); copy both here again."
        )
    ids, real = padded(vlm, rows)
    config = vlm.model.config
    apart = config.is_encoder_decoder or config.get_text_config().is_encoder_decoder
    whole = _beside(vlm, inputs, ids) if apart else followed(vlm, inputs, ids, real)
    with in_words(f"the processor and the model in {vlm.folder} do not fit", "copy both here again"):
        logits = vlm.model(**whole).logits
    logits = logits if apart else logits[:, asked.shape[1] - 1 : -1]
    return F.log_softmax(logits.float(), -1), ids, real


def _beside(vlm: Vlm, inputs: Inputs, ids: Tensor) -> Inputs:
    """The inputs of questions to an encoder, and for the decoder an answer's tokens (n, length), each a place later."""
    known = vlm.model.generation_config
    start = known.bos_token_id if known.decoder_start_token_id is None else known.decoder_start_token_id
    if start is None:
        raise InputError(
            f"{vlm.folder} does not say with which token answers begin; add decoder_start_token_id to its "
            "generation_config.json."
        )
    return {**inputs, "decoder_input_ids": torch.cat([torch.full_like(ids[:, :1], start), ids[:, :-1]], 1)}


def answer_losses(
    vlm: Vlm, questions: Questions, answers: Sequence[str], changed: Mapping[str, Tensor] = NOTHING
) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood (n,) of each answer and its end, summed over its tokens, and their number (n,).

    As `answer_log_probabilities`, of the answers' tokens alone.
    """
    logs, ids, real = answer_log_probabilities(vlm, questions, answers, changed)
    return -(logs.gather(-1, ids[..., None])[..., 0] * real).sum(1), real.sum(1)
