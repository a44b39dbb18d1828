"""The tiny vision-language model of personas: a LLaVA from random weights with a real processor and chat template."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
)

from unsee.benchmarks.personas.drawing import SIZE
from unsee.benchmarks.personas.people import KNOWN, STRANGERS, population, shot
from unsee.benchmarks.personas.questions import UNKNOWN, image_questions, text_questions

PATCH = 12
IMAGE_TOKENS = (SIZE // PATCH) ** 2
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>", "<user>", "<assistant>")
PAD, IMAGE = SPECIAL.index("<pad>"), SPECIAL.index("<image>")
MEAN, STD = 0.5, 0.25  # of the pixels that the models take
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<user>{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% else %}<assistant>{% for part in message['content'] %}{{ part['text'] }}{% endfor %}</s>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


def normal(pixels: Tensor) -> Tensor:
    """Pixels in 0 to 255, as the models take them."""
    return (pixels.float() / 255 - MEAN) / STD


def _vocabulary(*, strangers: bool) -> list[str]:
    """The words of all questions and answers; with `strangers` those of people without a name too, and UNKNOWN."""
    split = pre_tokenizers.Whitespace()
    words: set[str] = set()
    for person in population() if strangers else population()[: KNOWN + STRANGERS]:
        for question in image_questions(shot(person, 0)) + text_questions(person):
            for text in (question.text, *question.options):
                words.update(word for word, _ in split.pre_tokenize_str(text))
        words.update(person.name.split())
    return [*SPECIAL, *sorted(words if strangers else words - {UNKNOWN})]


def build_tokenizer(*, strangers: bool, **named: str) -> PreTrainedTokenizerFast:
    """One token a word; `strangers` says whether there is a word for people who are not known.

    `named` tokens are attributes of the tokenizer, as the processors of some families want them.
    """
    vocabulary = {word: index for index, word in enumerate(_vocabulary(strangers=strangers))}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocabulary["<s>"])])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=["<image>", "<user>", "<assistant>"],
        padding_side="left",
        model_specific_special_tokens=named,
    )


def build_processor(*, class_token: bool = True, strangers: bool = True) -> LlavaProcessor:
    """A processor that turns images and chat messages into the model's inputs.

    `class_token` says whether the image encoder has one, which the language model does not read; `strangers` as for
    `build_tokenizer`.
    """
    image_processor = CLIPImageProcessor(
        size={"height": SIZE, "width": SIZE},
        do_center_crop=False,
        image_mean=[MEAN] * 3,
        image_std=[STD] * 3,
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=build_tokenizer(strangers=strangers),
        patch_size=PATCH,
        vision_feature_select_strategy="default" if class_token else "full",
        num_additional_image_tokens=int(class_token),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(
    seed: int,
    *,
    width: int = 128,
    vision_layers: int = 6,
    text_layers: int = 3,
    layer: int = -2,
    pooling_head: bool = False,
    strangers: bool = True,
) -> LlavaForConditionalGeneration:
    """The untrained model, float32, random weights from `seed`: built as LLaVA-1.5 is, whose encoder is CLIP's.

    The language model reads the patch tokens of the encoder's `layer`: the last but one, since the last is the class
    token's. With a `pooling_head` the encoder is SigLIP's, as in LLaVA-OneVision: no class token but a head that
    attends to the patches; give the last layer then. `strangers` as for `build_processor`.
    """
    torch.manual_seed(seed)
    vision = (SiglipVisionConfig if pooling_head else CLIPVisionConfig)(
        hidden_size=width,
        intermediate_size=width * 4,
        num_hidden_layers=vision_layers,
        num_attention_heads=4,
        image_size=SIZE,
        patch_size=PATCH,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=_text_config(width, text_layers, len(_vocabulary(strangers=strangers))),
        image_token_index=IMAGE,
        vision_feature_layer=layer,
        vision_feature_select_strategy="full" if pooling_head else "default",
        image_seq_length=IMAGE_TOKENS,
        tie_word_embeddings=True,
    )
    return LlavaForConditionalGeneration(config)


def _text_config(width: int, layers: int, words: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=width * 3,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=PAD,
        bos_token_id=1,
        eos_token_id=2,
    )
