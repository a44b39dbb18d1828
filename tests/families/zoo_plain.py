"""Builders of models that see a picture as a whole, by one tower or two."""

import torch
import transformers as hf
from zoo_parts import (
    CHAT,
    IMAGE,
    SIGLIP,
    SQUARE,
    STD,
    TOKENS,
    VISION,
    WIDTH,
    Built,
    assemble,
    chat,
    ids,
    open_gates,
    text,
    tokenizer,
)


def paligemma() -> Built:
    """PaliGemma: no chat template, the picture comes first."""
    tokens = tokenizer(IMAGE)
    images = hf.SiglipImageProcessor(size=SQUARE)
    images.image_seq_length = TOKENS
    processor = hf.PaliGemmaProcessor(images, tokens)
    language = text(processor, model_type="gemma", head_dim=8)
    place = {"image_token_index": tokens.image_token_id, "projection_dim": 32}
    return assemble(hf.PaliGemmaForConditionalGeneration, processor, SIGLIP, language, **place)


def gemma3() -> Built:
    """Gemma 3: few tokens for each picture, which see each other."""
    names = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    tokens = tokenizer(names)
    processor = hf.Gemma3Processor(hf.Gemma3ImageProcessor(size=SQUARE), tokens, chat("<start_of_image>"), 4)
    language = text(processor, head_dim=8, sliding_window=32)
    places = {"boi_token_index": tokens.boi_token_id, "eoi_token_index": tokens.eoi_token_id}
    places |= {"image_token_index": tokens.image_token_id, "mm_tokens_per_image": 4}
    model, _ = assemble(hf.Gemma3ForConditionalGeneration, processor, SIGLIP, language, **places)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=STD)  # zeros otherwise
    return model, processor


def gemma4() -> Built:
    """Gemma 4: patches padded to one length, with their positions."""
    names = {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    # Its processor wants these even where there is nothing to hear.
    names |= {"audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"}
    tokens = tokenizer(names)
    # 70 tokens are the fewest that the image processor allows.
    images = hf.Gemma4ImageProcessor(patch_size=4, max_soft_tokens=70, pooling_kernel_size=2)
    sound = hf.Gemma4AudioFeatureExtractor()
    processor = hf.Gemma4Processor(sound, images, tokens, None, chat("<|image|>"), image_seq_length=70)
    vision = {**VISION, "num_key_value_heads": 4, "head_dim": 8, "patch_size": 4}
    vision |= {"pooling_kernel_size": 2, "position_embedding_size": 256}
    language = text(processor, head_dim=8, global_head_dim=8, sliding_window=32)
    language |= {"layer_types": ["sliding_attention", "full_attention"]}
    language |= {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": len(tokens)}
    places = {**ids(tokens, names), "video_token_id": processor.video_token_id}
    return assemble(hf.Gemma4ForConditionalGeneration, processor, vision, language, initializer_range=STD, **places)


def florence2() -> Built:
    """Florence-2: the picture enters the encoder of BART."""
    tokens = tokenizer(IMAGE)
    images = hf.CLIPImageProcessor(size=SQUARE, do_center_crop=False)
    images.image_seq_length = TOKENS + 1  # one token for the mean, then one per cell
    processor = hf.Florence2Processor(images, tokens)
    vision = {"depths": [1, 1], "patch_size": [7, 3], "patch_stride": [4, 2], "patch_padding": [3, 1]}
    vision |= {"patch_prenorm": [False, True], "embed_dim": [16, 32], "num_heads": [2, 4], "num_groups": [2, 4]}
    vision |= {"window_size": 4, "projection_dim": 32, "initializer_range": STD}
    language = text(processor, model_type="bart", d_model=32, init_std=STD, decoder_start_token_id=2)
    for half in ("encoder", "decoder"):
        language |= {f"{half}_layers": 2, f"{half}_attention_heads": 4, f"{half}_ffn_dim": 64}
    place = {"image_token_id": tokens.image_token_id}
    return assemble(hf.Florence2ForConditionalGeneration, processor, vision, language, **place)


def janus() -> Built:
    """Janus: a second, unused way of seeing draws pictures."""
    names = {"image_token": "<image>", "boi_token": "<begin_of_image>", "eoi_token": "<end_of_image>"}
    tokens = tokenizer(names)
    processor = hf.JanusProcessor(hf.JanusImageProcessor(size=SQUARE), tokens, CHAT, num_image_tokens=TOKENS)
    vision = {**VISION, "mlp_ratio": 2.0, "projection_dim": 32, "num_image_tokens": TOKENS}
    drawing = {"base_channels": 32, "channel_multiplier": [1, 1], "num_res_blocks": 1, "latent_channels": 32}
    drawing |= {"embed_dim": 8, "num_embeddings": 32, "num_patches": 4}
    drawing |= {"projection_dim": 32, "image_token_embed_dim": 32}
    rest = {"vq_config": drawing, "image_token_id": tokens.image_token_id}
    return assemble(hf.JanusForConditionalGeneration, processor, vision, "llama", **rest)


def deepseek_vl() -> Built:
    """DeepSeek-VL 1.3B."""
    tokens = tokenizer(IMAGE)
    processor = hf.DeepseekVLProcessor(hf.DeepseekVLImageProcessor(size=SQUARE), tokens, CHAT, TOKENS)
    return assemble(hf.DeepseekVLForConditionalGeneration, processor, SIGLIP, "llama", **ids(tokens, IMAGE))


def deepseek_vl_hybrid() -> Built:
    """DeepSeek-VL 7B: a second tower sees the picture in high resolution."""
    tokens = tokenizer(IMAGE)
    images = hf.DeepseekVLHybridImageProcessor(size=SQUARE, high_res_size={"height": 64, "width": 64})
    processor = hf.DeepseekVLHybridProcessor(images, tokens, CHAT, TOKENS)
    sam = {**WIDTH, "model_type": "sam_vision_model", "image_size": 64, "patch_size": 8, "num_hidden_layers": 2}
    sam |= {"output_channels": 16, "mlp_dim": 64, "global_attn_indexes": [1], "window_size": 4}
    rest = {"high_res_vision_config": sam, "image_token_id": tokens.image_token_id}
    model, _ = assemble(hf.DeepseekVLHybridForConditionalGeneration, processor, SIGLIP, "llama", **rest)
    open_gates(model, "high_res_vision_alpha")
    return model, processor
