"""Which linear layers a method may train: the visual part, the projector alone, the language model, or everything."""

from typing import Literal

from torch import nn

from unsee.errors import InputError
from unsee.models.checkpoint import Vlm
from unsee.models.features import Inputs
from unsee.models.outline import outline, projector_layers

Scope = Literal["visual", "encoder", "projector", "language", "all"]
WITH_LANGUAGE = ("language", "all")  # those in which the language model changes


def scope_layers(vlm: Vlm, scope: Scope, image: Inputs) -> list[str]:
    """Names of the linear layers that a scope holds, in the order in which they run.

    visual: all that the features depend on; encoder and projector: those up to the last block, and those after it;
    language: those of the decoder, without embeddings; all: visual and language. `image` is followed through the model.

    Raises InputError where a scope holds none, or the language model is asked for and was not opened.
    """
    visual = list(outline(vlm.outline, vlm.partition, image).trained)
    projector = projector_layers(visual, vlm.outline)
    found = {
        "visual": visual,
        "encoder": visual[: len(visual) - len(projector)],
        "projector": projector,
        "language": _language(vlm),
    }
    found["all"] = visual + found["language"]
    if not found[scope]:
        raise InputError(f"there is no linear layer of {vlm.folder} in the scope {scope!r}; choose another scope.")
    return found[scope]


def _language(vlm: Vlm) -> list[str]:
    """The decoder's linear layers that are stored as floats, where the language model was opened."""
    decoder, head = vlm.model.get_decoder(), vlm.model.get_output_embeddings()
    inside = {id(module) for module in decoder.modules() if module is not head}
    own = set(vlm.partition.protected) & vlm.dtypes.keys()
    return [
        name
        for name, module in vlm.model.named_modules()
        if isinstance(module, nn.Linear) and id(module) in inside and f"{name}.weight" in own
    ]
