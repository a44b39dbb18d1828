"""Which parameters of a vision-language model are visual and which belong to the language model."""

from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from unsee.errors import InputError


@dataclass(frozen=True)
class Partition:
    """Names of a model's parameters; every parameter is in exactly one of `visual` and `protected`.

    `groups` maps the module below which visual parameters live to how many numbers they hold; `linear` names the
    visual `nn.Linear` modules, whose weights a method may train.
    """

    visual: tuple[str, ...]
    protected: tuple[str, ...]
    groups: dict[str, int]
    linear: tuple[str, ...]


def _holds(outer: nn.Module, inner: nn.Module) -> bool:
    return any(module is inner for module in outer.modules())


def _language_root(model: PreTrainedModel, encoder: nn.Module, decoder: nn.Module) -> nn.Module:
    """The outermost module that holds the decoder and not the encoder."""
    for module in model.modules():
        if _holds(module, decoder) and not _holds(module, encoder):
            return module
    return decoder


def locate(model: PreTrainedModel, source: str) -> Partition:
    """Divides the parameters by identity: what the language model and its embeddings hold is protected.

    Raises InputError, naming `source`, where the model has no image encoder or a language model that cannot be told
    apart from it.
    """
    encoder, decoder = model.get_encoder(modality="image"), model.get_decoder()
    if encoder is None or encoder is model or encoder is model.base_model:
        raise InputError(
            f"{source} holds a {type(model).__name__} without a separate image encoder; "
            "expected a vision-language model."
        )
    if decoder is None or decoder is model or _holds(decoder, encoder):
        raise InputError(
            f"{source} holds a {type(model).__name__} whose language model cannot be told apart from "
            "its image encoder; this family is not supported."
        )
    protected = {id(p) for p in _language_root(model, encoder, decoder).parameters()}
    for embeddings in (model.get_input_embeddings(), model.get_output_embeddings()):
        if embeddings is not None:
            protected |= {id(p) for p in embeddings.parameters()}
    visual, kept = [], []
    groups: dict[str, int] = {}
    prefix = f"{model.base_model_prefix}."
    for name, parameter in model.named_parameters():
        if id(parameter) in protected:
            kept.append(name)
            continue
        visual.append(name)
        head = prefix if name.startswith(prefix) else ""
        group = head + name.removeprefix(head).split(".")[0]
        groups[group] = groups.get(group, 0) + parameter.numel()
    visible = set(visual)
    linear = tuple(
        name for name, module in model.named_modules() if isinstance(module, nn.Linear) and f"{name}.weight" in visible
    )
    return Partition(tuple(visual), tuple(kept), groups, linear)
