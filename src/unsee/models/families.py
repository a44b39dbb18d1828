"""What is known of single model families; the general algorithm lives in locate.py and features.py.

Standard library only, so that `unsee ls families` is fast. `python -m unsee.models.families > docs/families.md` writes
the page.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One family, by its `model_type`: what users should know of it, or why it is refused.

    `tested` families keep every promise of tests/families/test_contract.py.
    """

    title: str
    note: str = ""
    tested: bool = False
    refused: str = ""

    @property
    def status(self) -> str:
        """works, refused or not tested."""
        return "refused" if self.refused else "works" if self.tested else "not tested"


FAMILIES: dict[str, Family] = {
    "llava": Family(
        "LLaVA 1.5, Pixtral in LLaVA's layout",
        "with the CLIP tower, layer -2 is read and the last layer stays as it is; a Pixtral tower makes as many tokens as the image is large",
        tested=True,
    ),
    "llava_next": Family(
        "LLaVA-NeXT (1.6)", "tiles: the number of tokens depends on the shape of the image", tested=True
    ),
    "llava_next_video": Family("LLaVA-NeXT-Video", "images only; tiles", tested=True),
    "llava_onevision": Family(
        "LLaVA-OneVision", "tiles: the number of tokens depends on the shape of the image", tested=True
    ),
    "vipllava": Family("ViP-LLaVA", "reads five layers of the tower", tested=True),
    "video_llava": Family("Video-LLaVA", "the image tower; the video tower is left as it is", tested=True),
    "qwen2_vl": Family("Qwen2-VL", "free image sizes; fused qkv weights are edited as one", tested=True),
    "qwen2_5_vl": Family("Qwen2.5-VL", "free image sizes; fused qkv weights are edited as one", tested=True),
    "qwen3_vl": Family("Qwen3-VL", "DeepStack: every level is a crossing of its own", tested=True),
    "qwen3_vl_moe": Family("Qwen3-VL-MoE", "DeepStack: every level is a crossing of its own", tested=True),
    "qwen3_5": Family("Qwen3.5", "free image sizes", tested=True),
    "qwen3_5_moe": Family("Qwen3.5-MoE", "free image sizes", tested=True),
    "idefics": Family("Idefics", "cross-attention: what the resampler gives is the crossing", tested=True),
    "idefics2": Family("Idefics2", "the perceiver's latents stay; its linear layers are edited", tested=True),
    "idefics3": Family("Idefics3", "tiles: the number of tokens depends on the size of the image", tested=True),
    "smolvlm": Family("SmolVLM", "tiles; its processor needs num2words", tested=True),
    "internvl": Family("InternVL", "tiles: the number of tokens depends on the shape of the image", tested=True),
    "paligemma": Family("PaliGemma", tested=True),
    "gemma3": Family("Gemma 3", "the projection is no linear layer and stays; the tower is edited", tested=True),
    "gemma4": Family("Gemma 4", "the parts for audio are protected with the language model", tested=True),
    "mllama": Family(
        "Llama 3.2 Vision",
        "cross-attention: the projected states are the crossing; the cross-attention layers are protected",
        tested=True,
    ),
    "mistral3": Family("Mistral 3", "as many tokens as the image is large", tested=True),
    "lighton_ocr": Family("LightOnOCR", "as many tokens as the image is large", tested=True),
    "glm4v": Family("GLM-4V", "free image sizes", tested=True),
    "glm4v_moe": Family("GLM-4V-MoE", "free image sizes", tested=True),
    "glm46v": Family("GLM-4.6V", "free image sizes", tested=True),
    "exaone4_5": Family("EXAONE 4.5", "free image sizes", tested=True),
    "blip-2": Family("BLIP-2", "the query tokens stay; tower, Q-Former and projection are edited", tested=True),
    "instructblip": Family(
        "InstructBLIP",
        "what leaves the Q-Former depends on the question, so the image encoder's output is the crossing and the Q-Former stays as it is",
        tested=True,
    ),
    "florence2": Family("Florence-2", "enters the encoder of an encoder-decoder", tested=True),
    "kosmos-2": Family("Kosmos-2", tested=True),
    "aya_vision": Family("Aya Vision", "tiles", tested=True),
    "cohere2_vision": Family("Command A Vision", "tiles", tested=True),
    "janus": Family("Janus", "understanding of images; the parts that draw images are protected", tested=True),
    "deepseek_vl": Family("DeepSeek-VL", tested=True),
    "deepseek_vl_hybrid": Family("DeepSeek-VL hybrid", "both towers are edited", tested=True),
    "granite4_vision": Family(
        "Granite 4 Vision", "the image enters through DeepStack alone; every level is a crossing", tested=True
    ),
    "ovis2": Family("Ovis2", "tiles", tested=True),
    "video_llama_3": Family("VideoLLaMA 3", "images only; free image sizes", tested=True),
    "paddleocr_vl": Family("PaddleOCR-VL", "free image sizes", tested=True),
    "chameleon": Family("Chameleon", refused="an image becomes discrete codes, through which nothing can be learnt"),
    "emu3": Family("Emu3", refused="an image becomes discrete codes, through which nothing can be learnt"),
    "phi4_multimodal": Family(
        "Phi-4 multimodal", refused="transformers opens it as a text model, without the class for images and text"
    ),
    "blip": Family("BLIP", refused="transformers gives its image features no method of their own"),
    "evolla": Family("Evolla", refused="it reads proteins and takes no images"),
    "fuyu": Family("Fuyu", refused="it has no image encoder; pixels enter the language model through one linear layer"),
    "gemma4_unified": Family(
        "Gemma 4 unified", refused="it has no image encoder; pixels enter the language model through two linear layers"
    ),
    "git": Family("GIT", refused="transformers gives its image features no method of their own"),
    "instructblipvideo": Family("InstructBLIP-Video", refused="it takes videos and no images"),
    "kosmos-2.5": Family("Kosmos-2.5", refused="transformers gives its image features no method of their own"),
    "mistral4": Family("Mistral 4", refused="it takes no images"),
    "pi0": Family("PI0", refused="it answers with the movements of a robot and not with text"),
    "pix2struct": Family("Pix2Struct", refused="transformers gives its image features no method of their own"),
    "pp_formulanet": Family("PP-FormulaNet", refused="transformers gives its image features no method of their own"),
    "t5gemma2": Family("T5Gemma 2", refused="its image encoder lies inside the encoder of the text"),
    "udop": Family("UDOP", refused="its encoder mixes the image with the text from the first layer on"),
    "vision-encoder-decoder": Family(
        "Vision encoder-decoder",
        refused="transformers gives its image features no method of their own",
    ),
    "aria": Family("Aria"),
    "cohere_compass": Family("Cohere Compass"),
    "cosmos3_edge": Family("Cosmos 3 Edge"),
    "cosmos3_omni": Family("Cosmos 3 Omni"),
    "deepseek_ocr2": Family("DeepSeek-OCR 2"),
    "diffusion_gemma": Family("DiffusionGemma"),
    "dots3_note": Family("dots3.note"),
    "ernie4_5_vl_moe": Family("ERNIE 4.5 VL", "its processor cannot be saved without torchvision"),
    "fast_vlm": Family("FastVLM", "its tower comes from timm"),
    "gemma3n": Family("Gemma 3n", "its tower comes from timm"),
    "glm5_next": Family("GLM-5 Next"),
    "glm_ocr": Family("GLM-OCR"),
    "glmga": Family("GLM-GA"),
    "got_ocr2": Family("GOT-OCR 2", "only large images"),
    "granite_docling": Family("Granite Docling"),
    "hunyuan_vl": Family("HunYuan-VL"),
    "hyperclovax_vision_v2": Family("HyperCLOVA X Vision 2"),
    "inkling2": Family("Inkling 2"),
    "inkling_mm_model": Family("Inkling"),
    "kimi_k25": Family("Kimi K2.5"),
    "lfm2_vl": Family("LFM2-VL", "its image processor needs torchvision"),
    "lfm3_vl": Family("LFM3-VL"),
    "llama4": Family("Llama 4", "its image processor needs torchvision"),
    "minicpm_ocr": Family("MiniCPM-OCR"),
    "minicpmv4_6": Family("MiniCPM-V 4.6"),
    "minicpmv4_7": Family("MiniCPM-V 4.7"),
    "minimax_m3_vl": Family("MiniMax-M3-VL"),
    "mistral_large4": Family("Mistral Large 4"),
    "molmo2": Family("Molmo 2"),
    "muse_glimmer": Family("Muse Glimmer"),
    "muse_spark": Family("Muse Spark"),
    "nemotron_h_omni": Family("Nemotron-H Omni"),
    "perception_lm": Family("PerceptionLM", "its default tower comes from timm"),
    "pp_chart2table": Family("PP-Chart2Table"),
    "qianfan_ocr": Family("Qianfan-OCR"),
    "qwen2_5_omni_thinker": Family("Qwen2.5-Omni Thinker"),
    "qwen3_omni_moe_thinker": Family("Qwen3-Omni Thinker"),
    "qwen4_exp": Family("qwen4_exp"),
    "shieldgemma2": Family("ShieldGemma 2"),
    "step3p7": Family("Step 3.7"),
    "unlimited_ocr": Family("Unlimited-OCR"),
}


def markdown() -> str:
    """The page docs/families.md."""
    counts = {
        status: sum(f.status == status for f in FAMILIES.values()) for status in ("works", "refused", "not tested")
    }
    rows = "\n".join(
        f"| {family.title} | `{name}` | {family.status} | {family.refused or family.note} |"
        for name, family in FAMILIES.items()
    )
    return f"""# Families
Written from `src/unsee/models/families.py` by `python -m unsee.models.families > docs/families.md`.

{counts["works"]} families work, {counts["refused"]} are refused, {counts["not tested"]} are not tested.

**works**: a tiny model with random weights, made from the family's own config classes, with the family's own processor and saved in its own layout on disk, keeps every promise of `tests/families/test_contract.py`. Only visual parameters are reached; nothing of the image enters the language model but through the crossings; the visual part alone gives the features of the whole model; a request changes the tensors that it declares and nothing else; the result opens with transformers and gives the logits it should; pictures of different sizes go together in one batch; bfloat16, one file or many; the same bits twice; answers alike in a batch and alone. No checkpoint of the hub was opened: how well something is forgotten on a real model is not measured here.

**refused**: unsee says so in one sentence and leaves with 2. **not tested**: the general algorithm may work; `unsee inspect` shows what it finds, and unsee refuses what it cannot tell apart. A family that is not in the table is treated in the same way.

| family | `model_type` | status | what to know |
|---|---|---|---|
{rows}
"""


if __name__ == "__main__":
    print(markdown(), end="")
