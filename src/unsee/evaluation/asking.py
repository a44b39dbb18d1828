"""Asking a model: what it says, and how likely it finds given answers; each family through its own generation."""

import inspect
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from PIL.Image import Image
from torch import Tensor
from torch.nn import functional as F
from transformers import LogitsProcessor, PreTrainedModel

from unsee.data import describe, open_image
from unsee.data.images import pixels
from unsee.errors import InputError, UnaskableError
from unsee.models.answers import Finite, decoded, followed, generated, padded
from unsee.models.checkpoint import Vlm
from unsee.models.features import CROSSINGS, HALVES, Inputs
from unsee.models.foreign import in_words
from unsee.models.inputs import chat_inputs, context, image_inputs
from unsee.models.once import seen_once
from unsee.models.sizes import LARGE
from unsee.records import Sample
from unsee.system.device import in_room
from unsee.system.processes import gathered, own
from unsee.system.progress import report

BATCH, FEW = 256, 8  # questions at once, and of a model that is LARGE
OPEN = 100_000_000  # pixels of photos that are open at once, 0.3 GB
SENTENCE = 24  # tokens of an answer in which a name is looked for
AGAIN = 1 << 29  # bytes of questions that are kept to be asked again
ROUNDING, ROUNDING_HALF = 1e-3, 0.05  # of log-probabilities, in float32 and in half precision
AT_ONCE: WeakKeyDictionary[PreTrainedModel, dict[Hashable, bool]] = WeakKeyDictionary()  # what was tried, by kind
StageProgress = Callable[[str, int, int], None]


@runtime_checkable
class _Answering(Protocol):
    """A model that generates text; the base class of all models of transformers does not declare it."""

    def generate(self, **inputs: Any) -> Tensor: ...


# By model and questions; with these, so that no image of theirs is let go and its number given to another one.
_AGAIN: ContextVar[dict[Hashable, tuple[Inputs, Sequence[Sample]]] | None] = ContextVar("again", default=None)


@contextmanager
def asked_again() -> Iterator[None]:
    """While open, what processors make of questions is kept, up to AGAIN bytes: they are asked with other weights.

    Inside of another one nothing new begins.
    """
    token = _AGAIN.set({} if (kept := _AGAIN.get()) is None else kept)
    try:
        yield
    finally:
        _AGAIN.reset(token)


def _inputs(vlm: Vlm, samples: Sequence[Sample]) -> Inputs:
    """The questions as the model takes them, each after its examples (`Sample.shots`).

    Raises InputError, with the image that cannot be taken where it is one.
    """
    kept, key = _AGAIN.get(), (id(vlm.model), tuple(map(_key, samples)))
    if kept is None:
        return _made(vlm, samples)
    if key in kept:
        return dict(kept[key][0])
    made = _made(vlm, samples)
    if sum(value.nbytes for inputs in (*(one for one, _ in kept.values()), made) for value in inputs.values()) <= AGAIN:
        kept[key] = made, samples
    return dict(made)


def _made(vlm: Vlm, samples: Sequence[Sample]) -> Inputs:
    opened: dict[Hashable, Image | None] = {}
    for sample in (one for s in samples for one in _turns(s)):
        if _image(sample) not in opened:
            opened[_image(sample)] = None if sample.image is None else open_image(sample.image)
    shots = [[(opened[_image(shot)], shot.question, shot.answer) for shot in s.shots] for s in samples]
    questions = [(opened[_image(s)], s.question) for s in samples]
    try:
        return chat_inputs(vlm, questions, shots if any(shots) else ())
    except InputError:
        for sample, (image, _) in zip(samples, questions, strict=True):
            if image is not None:
                image_inputs(vlm.processor, [image], describe(sample))
        raise


def _by_kind(vlm: Vlm, samples: Sequence[Sample], size: int) -> Iterator[list[int]]:
    """Batches of indices, see `_bounded`. In one, all have an image or none has, and one measure and answer length.

    Questions about one image come one after the other, the others by their length. Where a model numbers its places
    from the first one on, padding included, only questions of one text share a batch.
    """
    kinds: dict[Hashable, list[int]] = {}
    images = _numbered(samples)
    alike = vlm.model.config.is_encoder_decoder or vlm.model.config.model_type in CROSSINGS
    for index in sorted(range(len(samples)), key=lambda i: (images[i], len(samples[i].question))):
        one = samples[index]
        text = one.question if alike else ""
        kinds.setdefault((one.image is None, one.measure, one.tokens, len(one.shots), text), []).append(index)
    for group in kinds.values():
        yield from _bounded(samples, group, size)


def _numbered(samples: Sequence[Sample]) -> list[int]:
    """A number for each sample, the same where the image is the same."""
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(_image(sample), len(numbers)) for sample in samples]


def _bounded(samples: Sequence[Sample], group: Sequence[int], size: int) -> Iterator[list[int]]:
    """A group in parts of at most `size`, whose images have at most OPEN pixels, or with one image."""
    part, images = list[int](), dict[Hashable, int]()
    for index in group:
        own = {_image(one): pixels(one.image) for one in _turns(samples[index]) if one.image is not None}
        further = not own.keys() <= images.keys()
        if part and (len(part) == size or (further and sum((images | own).values()) > OPEN)):
            yield part
            part, images = [], {}
        part.append(index)
        images |= own
    yield part


def _turns(sample: Sample) -> tuple[Sample, ...]:
    """What a question shows and asks: its examples, then itself."""
    return (*sample.shots, sample)


def _longest_answers(vlm: Vlm, samples: Sequence[Sample]) -> dict[str, int]:
    """By measure, the tokens of the longest right answer and two more.

    The end token, and one more, so that an answer which goes on is not cut into a right one. Where the right words
    may stand within a sentence, at least SENTENCE.
    """
    found = dict[str, int]()
    for measure in {sample.measure for sample in samples}:
        texts = sorted({sample.answer for sample in samples if sample.measure == measure})
        rows = vlm.processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
        found[measure] = max(SENTENCE if measure == "words" else 0, *(len(ids) + 2 for ids in rows))
    return found


def _batch(vlm: Vlm) -> int:
    return BATCH if vlm.model.num_parameters() < LARGE else FEW


def _generate(vlm: Vlm, samples: Sequence[Sample], inputs: Inputs, **options: Any) -> Any:
    """Greedy generation for the samples' `inputs`.

    Raises InputError for a model that cannot generate text, or not from these inputs.
    """
    if not isinstance(vlm.model, _Answering):
        raise InputError(
            f"{vlm.folder} holds a {type(vlm.model).__name__}, which cannot answer; expected one that can."
        )
    pad = vlm.processor.tokenizer.pad_token_id
    room, needed = context(vlm), inputs["input_ids"].shape[1] + options["max_new_tokens"]
    if room is not None and needed > room:
        raise UnaskableError(
            f"a question with its answer takes {needed} tokens and the model in {vlm.folder} has room for {room}; ask "
            "a shorter one."
        )
    images = range(len(samples)) if any(sample.shots for sample in samples) else _numbered(samples)
    with (
        in_words(f"the processor and the model in {vlm.folder} do not fit", "copy both here again", UnaskableError),
        seen_once(vlm.model, images),
    ):
        said = {"logits_processor": [Finite(vlm.folder)]} | options
        return generated(vlm.model, **inputs, pad_token_id=pad, **said)


def _key(sample: Sample) -> tuple[Hashable, ...]:
    """The same for questions that are asked once."""
    return _image(sample), sample.question, tuple((*_key(shot), shot.answer) for shot in sample.shots)


def _image(sample: Sample) -> Hashable:
    return sample.image if isinstance(sample.image, Path) else id(sample.image)


@torch.no_grad()
def generate(vlm: Vlm, samples: Sequence[Sample], progress: StageProgress | None = None) -> list[str]:
    """Greedy answers through the checkpoint's chat template, one per sample.

    The same question about the same image is asked once; several processes ask a share each. Raises InputError for a
    model that cannot generate text.
    """
    limits, first, said = _longest_answers(vlm, samples), dict[Hashable, Sample](), dict[Hashable, str]()

    def most(sample: Sample) -> int:
        return sample.tokens or limits[sample.measure]

    for sample in samples:
        first.setdefault((most(sample), _key(sample)), sample)
    asked = list(first.values())
    for indices in _by_kind(vlm, asked, _batch(vlm)):
        chosen = [asked[i] for i in indices]

        def answered(size: int, chosen: list[Sample] = chosen) -> list[str]:
            found, share = list[str](), own(chosen)
            for start in range(0, len(share), size):
                part = share[start : start + size]
                inputs = _inputs(vlm, part)
                found += decoded(vlm, inputs, _generate(vlm, part, inputs, max_new_tokens=most(chosen[0])))
            return found

        answers = gathered(in_room(answered, len(chosen)))
        said |= {(most(one), _key(one)): text for one, text in zip(chosen, answers, strict=True)}
        if progress is None:
            report("asking", len(said), len(asked))
        else:
            progress("answering", len(said), len(asked))
    return [said[most(sample), _key(sample)] for sample in samples]


class _Forced(LogitsProcessor):
    """Lets each sequence of a batch say what is written in its row of `ids` (batch, length)."""

    def __init__(self, ids: Tensor) -> None:
        self.ids, self.step = ids, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002 # the signature is given
        forced = torch.full_like(scores, -torch.inf)
        forced.scatter_(1, self.ids[:, self.step : self.step + 1], 0.0)
        self.step += 1
        return forced


def _answer_ids(vlm: Vlm, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Tokens (n, length) of the right answers, padded, and which of them are real."""
    tokenizer = vlm.processor.tokenizer
    return padded(vlm, [tokenizer(sample.answer, add_special_tokens=False)["input_ids"] for sample in samples])


@torch.no_grad()
def answer_probabilities(vlm: Vlm, samples: Sequence[Sample]) -> list[float]:
    """Probability of each sample's right answer, the geometric mean over its tokens, in [0, 1].

    In one pass where that says the same as generating the answer token by token, which is tried once for questions of a
    kind.
    """
    found = [0.0] * len(samples)
    for indices in _by_kind(vlm, samples, _batch(vlm)):
        chosen = [samples[i] for i in indices]
        ids, real = _answer_ids(vlm, chosen)
        likely = _likely(vlm, chosen, _inputs(vlm, chosen), ids, real)
        mean = likely.where(real > 0, 0.0).sum(1) / real.sum(1)
        Finite(vlm.folder)(ids, mean)
        for index, value in zip(indices, mean.exp().cpu().tolist(), strict=True):
            found[index] = value
    return found


def _likely(vlm: Vlm, samples: Sequence[Sample], inputs: Inputs, ids: Tensor, real: Tensor) -> Tensor:
    """Log-probabilities (n, length) of the answers' tokens; those that are not real say nothing."""
    tried = AT_ONCE.setdefault(vlm.model, {})
    kind = samples[0].image is None, bool(samples[0].shots)
    if kind in tried:
        return (_at_once if tried[kind] else _by_token)(vlm, samples, inputs, ids, real)
    slowly = _by_token(vlm, samples, inputs, ids, real)
    try:
        apart = (_at_once(vlm, samples, inputs, ids, real) - slowly)[real > 0].abs().max().item()
    except InputError:  # the family does not take an answer behind its question
        apart = math.inf
    tried[kind] = apart <= (ROUNDING_HALF if vlm.model.dtype in HALVES else ROUNDING)
    return slowly


def _by_token(vlm: Vlm, samples: Sequence[Sample], inputs: Inputs, ids: Tensor, real: Tensor) -> Tensor:
    """The model generates the answer because nothing else is allowed: every family prepares its inputs as it does."""
    options = {"output_logits": True, "return_dict_in_generate": True, "max_new_tokens": ids.shape[1]}
    output = _generate(vlm, samples, inputs, logits_processor=[Finite(vlm.folder), _Forced(ids)], **options)
    logits = torch.stack(output.logits, 1).float()
    likely = F.log_softmax(logits, -1).gather(-1, ids[:, : logits.shape[1], None])[..., 0]
    return F.pad(likely, (0, real.shape[1] - likely.shape[1]))


def _at_once(vlm: Vlm, samples: Sequence[Sample], inputs: Inputs, ids: Tensor, real: Tensor) -> Tensor:
    """The answer stands behind its question, and one token more is generated, so that the family prepares both alike.

    Logits are computed for the answer alone where the family can do that. Raises InputError where it fails.
    """
    if vlm.model.config.is_encoder_decoder:
        raise InputError("an encoder reads the question and another part writes the answer.")
    length, found = ids.shape[1], list[Tensor]()
    handle = vlm.model.register_forward_hook(lambda _, __, output: found.append(output.logits[:, -length - 1 : -1]))
    few = {"logits_to_keep": length + 1} if _keeps_few(vlm) else {}
    try:
        _generate(vlm, samples, followed(vlm, inputs, ids, real), max_new_tokens=1, **few)
    finally:
        handle.remove()
    if not found:
        raise InputError("another part than the whole model writes the answer.")
    return F.log_softmax(found[0].float(), -1).gather(-1, ids[..., None])[..., 0]


def _keeps_few(vlm: Vlm) -> bool:
    """Whether the family computes the logits of the last places alone when it is asked to."""
    return "logits_to_keep" in inspect.signature(vlm.model.forward).parameters


def labelled(vlm: Vlm, sample: Sample) -> list[tuple[str, bool]]:
    """The tokens of a question and its right answer, and whether each counts in the answer's probability."""
    tokenizer = vlm.processor.tokenizer
    asked = _inputs(vlm, [sample])["input_ids"][0].cpu().tolist()
    answer = _answer_ids(vlm, [sample])[0][0].cpu().tolist()
    names = tokenizer.convert_ids_to_tokens([*asked, *answer])
    return [(name, number >= len(asked)) for number, name in enumerate(names)]
