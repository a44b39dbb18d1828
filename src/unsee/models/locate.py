"""Which parameters of a vision-language model are visual and which belong to the language model."""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from unsee.errors import InputError

# Names of image encoders that `PreTrainedModel.get_encoder` of transformers 5.23 does not look for.
ENCODERS = ("image_embed", "vision_embed_tokens", "vision_embedder", "embed_vision")
# Parts beside the language model that see no image: their parameters are protected with it.
NOT_VISUAL = ("audio", "speech", "generation", "vqmodel", "talker", "token2wav", "code2wav")
# Families whose decoder is the model itself: what is visual has to be named.
VISUAL_PARTS = {
    "idefics": ("vision_model", "perceiver_resampler"),
    "phi4_multimodal": ("image_embed",),
}


@dataclass(frozen=True)
class Partition:
    """Names of a model's parameters; every parameter is in exactly one of `visual` and `protected`.

    `groups` maps the module below which visual parameters live to how many numbers they hold; `linear` names the
    visual `nn.Linear` modules, whose weights a method may train; `buffers` are the visual buffers that a checkpoint
    stores.
    """

    visual: tuple[str, ...]
    protected: tuple[str, ...]
    groups: dict[str, int]
    linear: tuple[str, ...]
    buffers: tuple[str, ...]


def _holds(outer: nn.Module, inner: nn.Module) -> bool:
    return any(module is inner for module in outer.modules())


def _encoder(model: PreTrainedModel) -> nn.Module | None:
    found: nn.Module = model.get_encoder(modality="image")
    if found is not model and found is not model.base_model:
        return found
    named = [module for name, module in model.named_modules() if name.rpartition(".")[2] in ENCODERS]
    return named[0] if named else None


def _language_root(model: PreTrainedModel, encoder: nn.Module, decoder: nn.Module) -> nn.Module:
    """The outermost module that holds the decoder and not the encoder."""
    for module in model.modules():
        if _holds(module, decoder) and not _holds(module, encoder):
            return module
    return decoder


def _is_visual_name(name: str) -> bool:
    return not any(part.startswith(NOT_VISUAL) or part.endswith("_audio") for part in name.split("."))


def _visual_tensors(model: PreTrainedModel, source: str) -> set[int]:
    """Identities of the visual parameters and buffers."""
    parts = VISUAL_PARTS.get(model.config.model_type)
    everything = [*model.named_parameters(), *model.named_buffers()]
    if parts is not None:
        return {id(t) for name, t in everything if any(part in name.split(".") for part in parts)}
    encoder, decoder = _encoder(model), model.get_decoder()
    if encoder is None:
        raise InputError(
            f"{source} holds a {type(model).__name__} without a separate image encoder; "
            "expected a vision-language model."
        )
    words = model.get_input_embeddings()
    if decoder is None or decoder is model or _holds(decoder, encoder) or _holds(encoder, words):
        raise InputError(
            f"{source} holds a {type(model).__name__} whose language model cannot be told apart from "
            "its image encoder; this family is not supported."
        )
    language = [_language_root(model, encoder, decoder), words, model.get_output_embeddings()]
    protected = {id(t) for module in language if module is not None for t in (*module.parameters(), *module.buffers())}
    return {id(t) for name, t in everything if id(t) not in protected and _is_visual_name(name)}


def locate(model: PreTrainedModel, source: str) -> Partition:
    """Divides the parameters by identity: what the language model and its embeddings hold is protected.

    The model may be on the meta device. Raises InputError, naming `source`, where the model has no image encoder or a
    language model that cannot be told apart from it.
    """
    visible = _visual_tensors(model, source)
    visual, protected = [], []
    groups: dict[str, int] = {}
    prefix = f"{model.base_model_prefix}."
    for name, parameter in model.named_parameters():
        if id(parameter) not in visible:
            protected.append(name)
            continue
        visual.append(name)
        head = prefix if name.startswith(prefix) else ""
        group = head + name.removeprefix(head).split(".")[0]
        groups[group] = groups.get(group, 0) + parameter.numel()
    if not visual or not protected:
        raise InputError(f"{source} holds a {type(model).__name__} without both a visual part and a language model.")
    known = set(visual)
    linear = tuple(
        name for name, module in model.named_modules() if isinstance(module, nn.Linear) and f"{name}.weight" in known
    )
    kept = set(model.state_dict(keep_vars=True))
    buffers = tuple(name for name, buffer in model.named_buffers() if id(buffer) in visible and name in kept)
    return Partition(tuple(visual), tuple(protected), groups, linear, buffers)
