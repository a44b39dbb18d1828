"""Tiny random vision-language models, one per transformers family, each with its real processor, built offline.

A model and its processor save themselves in the layout of their family, and open again with
`AutoModelForImageTextToText` and `AutoProcessor`. `python tests/families/zoo.py [NAME ...]` checks that this is so.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from PIL import Image
from transformers import PreTrainedModel, ProcessorMixin
from transformers.utils import logging
from zoo_latents import blip2, idefics, idefics2, instructblip, instructblip_opt, instructblip_t5, kosmos2, mllama
from zoo_llava import (
    granite4_vision,
    lighton_ocr,
    llava,
    llava_next,
    llava_next_video,
    llava_onevision,
    llava_pixtral,
    mistral3,
    video_llava,
    vipllava,
)
from zoo_parts import QUESTION, Built
from zoo_plain import deepseek_vl, deepseek_vl_hybrid, florence2, gemma3, gemma4, janus, paligemma
from zoo_rows import (
    exaone4_5,
    glm4v,
    glm4v_moe,
    glm46v,
    paddleocr_vl,
    qwen2_5_vl,
    qwen2_vl,
    qwen3_5,
    qwen3_5_moe,
    qwen3_vl,
    qwen3_vl_moe,
    video_llama_3,
)
from zoo_tiles import aya_vision, cohere2_vision, idefics3, internvl, ovis2, smolvlm

from unsee.models.processors import without_videos

FAMILIES: dict[str, Callable[[], Built]] = {
    "llava": llava,
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "idefics2": idefics2,
    "idefics3": idefics3,
    "smolvlm": smolvlm,
    "internvl": internvl,
    "paligemma": paligemma,
    "gemma3": gemma3,
    "mllama": mllama,
    "mistral3": mistral3,
    "llava_pixtral": llava_pixtral,
    "glm4v": glm4v,
    "blip-2": blip2,
    "instructblip": instructblip,
    "florence2": florence2,
    "kosmos-2": kosmos2,
    "vipllava": vipllava,
    "aya_vision": aya_vision,
    "idefics": idefics,
    "qwen3_vl_moe": qwen3_vl_moe,
    "qwen3_5": qwen3_5,
    "gemma4": gemma4,
    "janus": janus,
    "deepseek_vl": deepseek_vl,
    "granite4_vision": granite4_vision,
    "instructblip_opt": instructblip_opt,
    "instructblip_t5": instructblip_t5,
    "cohere2_vision": cohere2_vision,
    "ovis2": ovis2,
    "deepseek_vl_hybrid": deepseek_vl_hybrid,
    "video_llava": video_llava,
    "llava_next_video": llava_next_video,
    "glm4v_moe": glm4v_moe,
    "glm46v": glm46v,
    "qwen3_5_moe": qwen3_5_moe,
    "exaone4_5": exaone4_5,
    "lighton_ocr": lighton_ocr,
    "video_llama_3": video_llama_3,
    "paddleocr_vl": paddleocr_vl,
}


def build(name: str, seed: int = 0) -> Built:
    """The untrained model of a family, float32 and not in training mode, and its processor."""
    torch.manual_seed(seed)
    with without_videos():
        model, processor = FAMILIES[name]()
    return model.float().eval(), processor


def saved(name: str, folder: Path, largest: str = "60KB", dtype: torch.dtype = torch.float32) -> Path:
    """Saves a family's checkpoint, in files of at most `largest`; returns the folder."""
    model, processor = build(name)
    with without_videos():
        model.to(dtype).save_pretrained(folder, max_shard_size=largest)
        processor.save_pretrained(folder)
    return folder


def picture(seed: int, width: int, height: int) -> Image.Image:
    """A picture of coarse random colours."""
    colours = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.NEAREST)


def prompts(processor: ProcessorMixin, pictures: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
    """The model's inputs for the same question about each picture, as one batch."""
    if processor.chat_template is None:
        inputs = processor(images=list(pictures), text=[QUESTION] * len(pictures), padding=True, return_tensors="pt")
    else:
        question = {"type": "text", "text": QUESTION}
        inputs = processor.apply_chat_template(
            [[{"role": "user", "content": [{"type": "image", "image": image}, question]}] for image in pictures],
            tokenize=True,
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
            padding=True,
        )
    inputs.pop("labels", None)
    return dict(inputs)


@torch.no_grad()
def check(name: str) -> str:
    """Use a family as a test would, and say in one line what came out; raises where it does not work."""
    start = time.perf_counter()
    model, processor = build(name)
    seconds = time.perf_counter() - start

    def logits(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        if model.config.get_text_config().is_encoder_decoder:
            inputs = {**inputs, "decoder_input_ids": torch.zeros(len(inputs["input_ids"]), 1, dtype=torch.long)}
        return model(**inputs).logits

    pictures = [picture(1, 60, 60), picture(2, 90, 45)]
    inputs = prompts(processor, pictures)
    before = logits(model, inputs)
    if not before.isfinite().all():
        raise ValueError("the logits are not finite")
    model.generate(**inputs, max_new_tokens=3, do_sample=False)
    change = (logits(model, prompts(processor, [picture(3, 60, 60), pictures[1]])) - before).abs()[0].max().item()
    if change < 1e-5:
        raise ValueError(f"another picture changes the logits by {change:.1e} only")
    with without_videos(), tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, max_shard_size="60KB")
        processor.save_pretrained(folder)
        reopened = hf.AutoModelForImageTextToText.from_pretrained(folder).eval()
        reopened_processor = hf.AutoProcessor.from_pretrained(folder)
    if type(reopened) is not type(model):
        raise TypeError(f"reopened as a {type(reopened).__name__}")
    if not torch.equal(logits(reopened, prompts(reopened_processor, pictures)), before):
        raise ValueError("the reopened model gives other logits")
    alone = [processor.image_processor(images=[image], return_tensors="pt") for image in pictures]
    alone = [{"(a tensor)": one} if isinstance(one, torch.Tensor) else one for one in alone]
    shapes = [", ".join(f"{key} {list(np.shape(value))}" for key, value in one.items()) for one in alone]
    size = sum(parameter.numel() for parameter in model.parameters())
    return f"{type(model).__name__} | {size:,} | {seconds:.2f} s | change {change:.0e} | " + " ; ".join(shapes)


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    for family in sys.argv[1:] or FAMILIES:
        try:
            print(f"ok   {family} | {check(family)}", flush=True)
        except Exception as error:
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            place = f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else ""
            print(f"FAIL {family} | {type(error).__name__}: {str(error)[:300]} @{place}", flush=True)
