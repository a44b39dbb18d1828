"""A model that judges answers: whoever it is gives replies to prompts; here a checkpoint on disk, never a network."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from unsee.errors import InputError
from unsee.models.foreign import first_line
from unsee.records import Sample
from unsee.system.device import chosen

SCALE, TOKENS, BATCH = 10, 8, 8  # highest score; most tokens of a reply; replies at once
PROMPT = """You grade an answer. Compare it with the right answer: does it state the same facts?
Question: {question}
Right answer: {expected}
Answer: {answer}
Reply with one whole number from 0 (nothing right) to 10 (all right), and nothing else."""
NUMBER = re.compile(r"\W*(?:(?:score|rating|grade)\W*)?(\d+(?:\.\d+)?)(?:\s*(?:/|out of)\s*10)?\W*", re.IGNORECASE)


class Judge(Protocol):
    """Gives a reply to each prompt, in their order."""

    def __call__(self, prompts: Sequence[str]) -> list[str]: ...


@dataclass(frozen=True)
class LocalJudge:
    """A language model or vision-language model of transformers in a folder, asked greedily through its template."""

    folder: Path

    def __post_init__(self) -> None:
        """Raises InputError where there is no such folder."""
        if not self.folder.is_dir():
            raise InputError(f"the judge {self.folder} is no folder; name one that holds a language model.")

    @torch.no_grad()
    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """Raises InputError where the folder holds no such model."""
        device = chosen()
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(self.folder, local_files_only=True, padding_side="left")
            config = AutoConfig.from_pretrained(self.folder, local_files_only=True)
            text = config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
            opened: Any = AutoModelForCausalLM if text else AutoModelForImageTextToText
            model = opened.from_pretrained(self.folder, local_files_only=True).eval().to(device)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise InputError(
                f"the judge in {self.folder} cannot be opened ({first_line(error)}); expected a language model of "
                "transformers with its tokenizer."
            ) from error
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        found = []
        for start in range(0, len(prompts), BATCH):
            asked = tokenizer(
                [_chat(tokenizer, prompt) for prompt in prompts[start : start + BATCH]],
                return_tensors="pt",
                padding=True,
                add_special_tokens=not tokenizer.chat_template,
            )
            inputs = {name: asked[name].to(device) for name in ("input_ids", "attention_mask")}
            said = model.generate(
                **inputs, do_sample=False, num_beams=1, max_new_tokens=TOKENS, pad_token_id=tokenizer.pad_token_id
            )
            found += tokenizer.batch_decode(said[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return found


def _chat(tokenizer: Any, prompt: str) -> str:
    if not tokenizer.chat_template:
        return prompt
    turns = [{"role": "user", "content": prompt}]
    return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


def grade(reply: str) -> float | None:
    """The number of a reply by SCALE, in [0, 1]; None where the reply is anything else than one number in range."""
    found = NUMBER.fullmatch(reply.strip())
    value = float(found[1]) if found else SCALE + 1.0
    return value / SCALE if value <= SCALE else None


def judged(judge: Judge, samples: Sequence[Sample], said: Sequence[str]) -> list[float | None]:
    """The judge's grade of each answer, in [0, 1], higher is nearer to the right one; None where its reply is no grade.

    The same answer to the same question is judged once.
    """
    prompts = [
        PROMPT.format(question=sample.question, expected=sample.answer, answer=answer or "(nothing)")
        for sample, answer in zip(samples, said, strict=True)
    ]
    distinct = list(dict.fromkeys(prompts))
    replies = dict(zip(distinct, judge(distinct), strict=True))
    return [grade(replies[prompt]) for prompt in prompts]
