"""What a checkpoint says elsewhere than in its processor's files, put where the processor looks for it.

Files of older versions lack what was added since, and tools that train save the template with the tokenizer alone.
"""

import json
from collections.abc import Callable
from typing import Any

from PIL.Image import new as new_image
from transformers import PreTrainedModel, ProcessorMixin

from unsee.errors import InputError
from unsee.models.foreign import in_words
from unsee.system.signals import within

LONGEST = 1 << 20  # signs that a template may make of a question of one
TRYING = 10.0  # seconds that a processor may take for one small image
CLASS_TOKENS = ("class_embedding", "cls_token")  # of encoders that have one beside the patches
PROBE = new_image("RGB", (96, 96), (90, 120, 150))
# Questions as they are, behind the token that stands for the image where they do not hold it themselves.
PLAIN = """
{%- for message in messages %}
{%- set text = message['content'] | selectattr('type', 'equalto', 'text') | map(attribute='text') | join %}
{%- if message['content'] | selectattr('type', 'equalto', 'image') | list and TOKEN not in text %}{{ TOKEN + '\\n' }}
{%- endif %}{{ text }}{{ '' if loop.last else '\\n' }}
{%- endfor %}"""


def complete(processor: ProcessorMixin, model: PreTrainedModel) -> None:
    """Gives a processor what it lacks: numbers of image tokens, a token for padding, and a chat template.

    `model` is the one that it belongs to, with or without values.
    """
    whole: Any = processor
    _image_tokens(whole, model)
    tokenizer: Any = getattr(processor, "tokenizer", None)
    if tokenizer is not None:
        _padding(tokenizer, model)
        if not whole.chat_template:
            whole.chat_template = _template(whole, tokenizer)


def _image_tokens(processor: Any, model: PreTrainedModel) -> None:
    """What LLaVA's processors count image tokens by; files of before transformers 4.46 leave it to the config."""
    facts = vars(processor)
    if facts.get("patch_size", 0) is None:
        processor.patch_size = getattr(getattr(model.config, "vision_config", None), "patch_size", None)
    strategy = getattr(model.config, "vision_feature_select_strategy", None)
    if "vision_feature_select_strategy" in facts and strategy is not None:
        processor.vision_feature_select_strategy = strategy  # the model goes by its own
    classed = any(name.endswith(CLASS_TOKENS) for name, _ in model.named_parameters())
    if facts.get("num_additional_image_tokens") == 0 and classed:
        processor.num_additional_image_tokens = 1  # 0 is what stands for a file that does not say it


def _padding(tokenizer: Any, model: PreTrainedModel) -> None:
    """Questions of a batch are padded, and no padding is read: any token that the model knows will do."""
    embeddings: Any = model.get_input_embeddings()
    known = embeddings.weight.shape[0]
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= known:
        end = tokenizer.eos_token_id
        token = tokenizer.eos_token if end is not None and end < known else tokenizer.convert_ids_to_tokens(0)
        tokenizer.pad_token = token


def _template(processor: Any, tokenizer: Any) -> Any:
    """The tokenizer's own template if it shows images, else a plain one if the processor needs one; else None."""
    tokens = [getattr(processor, name, None) for name in ("image_token", "boi_token")]
    marks = [str(token) for token in tokens if token]
    own = tokenizer.chat_template
    if own and _shows(processor, own, marks):
        return own
    if _makes(lambda: processor(images=[PROBE], text=["?"], return_tensors="pt")) or not marks:
        return None
    plain = PLAIN.replace("TOKEN", json.dumps(marks[0]))
    return plain if _shows(processor, plain, marks) else None


def _shows(processor: Any, template: Any, marks: list[str]) -> bool:
    """Whether the processor makes a question of an image and a text by a template, with one of the marks in it."""
    content = [{"type": "image", "image": PROBE}, {"type": "text", "text": "?"}]
    asked = [{"role": "user", "content": content}]
    chosen = template.get("default") if isinstance(template, dict) else template

    def asks() -> bool:
        text = processor.apply_chat_template(asked, chat_template=chosen, add_generation_prompt=True, tokenize=False)
        if len(text) > LONGEST:
            return False
        processor(images=[PROBE], text=[text], return_tensors="pt")
        return not marks or any(mark in text for mark in marks)

    return bool(_makes(asks))


def _makes(work: Callable[[], Any]) -> Any:
    """What a processor makes; nothing where it raises an error or does not end."""
    try:
        with in_words("the processor makes no question", "nothing"), within(TRYING):
            return work()
    except InputError:
        return None
