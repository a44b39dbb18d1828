"""Answers of a model itself, and not of the settings that were saved beside it."""

from pathlib import Path

from transformers import GenerationConfig, GenerationMixin, PreTrainedModel

from unsee.models.foreign import in_words

KEPT = (
    "eos_token_id", "bos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id",
    "forced_eos_token_id",
)  # fmt: skip


def check_settings(folder: Path) -> None:
    """Raises InputError where a checkpoint's settings for generation cannot be read."""
    file = folder / "generation_config.json"
    if file.is_file():
        with in_words(f"{file} cannot be used", "correct it, or take it out"):
            GenerationConfig.from_pretrained(folder)


def answer_greedily(model: PreTrainedModel) -> None:
    """Leaves of a checkpoint's settings for generation what says which tokens begin, pad and end an answer.

    The rest makes another answer of the same numbers: sampling, penalties, guidance, watermarks, words that are
    forbidden or that end it.
    """
    for part in model.modules():
        if isinstance(part, GenerationMixin) and part.generation_config is not None:
            said = part.generation_config.to_dict()
            part.generation_config = GenerationConfig(**{name: said[name] for name in KEPT if name in said})
