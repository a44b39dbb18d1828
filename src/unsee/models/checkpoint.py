"""Checkpoint folders: opening the visual part of one, or all of it, and writing an edited copy."""

import hashlib
import logging
import re
import warnings
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from PIL.Image import new as new_image
from safetensors import safe_open
from torch import Tensor
from torch.nn import Parameter
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForImageTextToText,
    PretrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    convert_and_load_state_dict_in_model,
    rename_source_key,
    revert_weight_conversion,
)
from transformers.modeling_utils import LoadStateDictConfig

from unsee.errors import InputError
from unsee.models.accounted import check_amount, check_visual, check_whole
from unsee.models.carried import carried, check_plain, check_unchanged, states
from unsee.models.families import FAMILIES
from unsee.models.features import device_of
from unsee.models.foreign import in_words
from unsee.models.greedy import answer_greedily, check_settings
from unsee.models.inputs import image_inputs
from unsee.models.locate import Partition, locate
from unsee.models.outline import Outline, outline
from unsee.models.processors import open_processor
from unsee.models.shards import DTYPES, INDEX, Stored, header, headers, patch, places, shards
from unsee.models.sizes import check_layers
from unsee.models.spreading import spread_out
from unsee.system import hub
from unsee.system.device import CPU, as_by_default, chosen
from unsee.system.disk import clone, linked
from unsee.system.memory import Memory, plan
from unsee.system.output import SESSION
from unsee.system.processes import spread

ADAPTER = "adapter_config.json"  # of peft
LOG = logging.getLogger("unsee")
PROBE = (448, 336)  # pixels of an image that is followed through a model without values


@dataclass(frozen=True)
class Vlm:
    """An opened vision-language model in evaluation mode, nothing requiring gradient.

    The visual part is float32. The language model is on the meta device, that is without values, unless it was asked
    for. `outline` is the same model without any value; `stored` says where each visual tensor lies on disk, by its name
    there, and `dtypes` in which each visual parameter is stored. `language` and `dtypes` say the same of the language
    model where it was asked for and is stored as floats. All that has values is on `device`.
    """

    folder: Path
    model: PreTrainedModel
    outline: PreTrainedModel
    processor: ProcessorMixin
    partition: Partition
    stored: Mapping[str, Stored]
    dtypes: Mapping[str, torch.dtype]
    language: Mapping[str, Stored] = field(default_factory=dict)
    files: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Size and time of each file of the folder that a copy has too, when it was opened."""
    cache: Path | None = None
    """Folder where what is measured of retained photos is kept for later runs."""

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return device_of(self.model)

    @property
    def quantised(self) -> str:
        """How the config says that weights are quantised; empty where it says nothing."""
        found = self.outline.config.to_dict().get("quantization_config")
        if found is None:
            return ""
        return str(found.get("quant_method", "somehow")) if isinstance(found, dict) else str(found)

    def bounds(self, memory: str) -> Memory:
        """What a run on this model may hold, normal or low. Raises InputError for another word."""
        return plan(memory, sum(self.partition.groups.values()), on_gpu=self.device.type != CPU)

    def dtype_of(self, name: str) -> torch.dtype:
        """In which dtype a parameter is stored; float32 where it is made of several stored tensors."""
        return self.dtypes.get(name, torch.float32)


def place_of(model: str | Path) -> Path:
    """The folder of a checkpoint, from here or from the hub. Raises InputError where there is none."""
    return hub.folder(model, "model", "a checkpoint folder of transformers", ("*.bin", "*.pt", "*.pth"))


def _config(folder: Path, *, trust_remote_code: bool) -> PretrainedConfig:
    """The config of a checkpoint, where it is one of a vision-language model that can be edited."""
    file = folder / "config.json"
    if all((folder / name).is_file() for name in SESSION):
        raise InputError(f"{folder} is a session; export it first: unsee session export {folder} --out CHECKPOINT.")
    if not file.is_file():
        raise InputError(f"{folder} has no config.json; expected a checkpoint folder of transformers.")
    with in_words(f"{file} cannot be read", "expected a transformers config"):
        raw, _ = PretrainedConfig.get_config_dict(folder)
    if not isinstance(raw, dict) or not isinstance(raw.get("model_type"), str):
        raise InputError(f"{file} names no model_type; expected a transformers config.")
    if (folder / ADAPTER).exists():
        raise InputError(
            f"{folder} holds an adapter ({ADAPTER}) that changes the weights when the model is opened; "
            "merge it into them first and save the model."
        )
    kind = raw["model_type"]
    if "auto_map" in raw and kind not in CONFIG_MAPPING and not trust_remote_code:
        raise InputError(
            f"{file} is of the type {kind!r}, which brings its own code; read that code, "
            "then add --trust-remote-code if you trust it."
        )
    if kind not in CONFIG_MAPPING and "auto_map" not in raw:
        raise InputError(
            f"{file} is of the type {kind!r}, which transformers {version('transformers')} does not know; "
            "expected a vision-language model that it does."
        )
    check_layers(file, raw)
    with in_words(f"{file} cannot be read", "expected a transformers config"):
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    if config._attn_implementation not in (None, "eager", "sdpa"):
        config._attn_implementation = None  # kernels of other packages, which need not be here
    family = FAMILIES.get(config.model_type)
    if family is not None and family.refused:
        raise InputError(f"{folder} holds a {config.model_type} model, which is not supported: {family.refused}.")
    if type(config) not in AutoModelForImageTextToText._model_mapping and "auto_map" not in raw:
        raise InputError(
            f"{folder} holds a {config.model_type} model, which takes no images; expected a vision-language model."
        )
    return config


def skeleton(model: str | Path, *, trust_remote_code: bool = False) -> tuple[Path, PreTrainedModel, Partition]:
    """A checkpoint's folder, its model without any value (on the meta device), and what is visual in it.

    Reads the config alone. Raises InputError for anything that is not a usable VLM checkpoint.
    """
    folder = place_of(model)
    check_plain(folder)
    config = _config(folder, trust_remote_code=trust_remote_code)
    what, then = f"{folder / 'config.json'} describes no model that can be built", "expected that of a vision-language"
    with in_words(what, f"{then} model"), torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what then fails
        empty: PreTrainedModel = AutoModelForImageTextToText.from_config(
            config, dtype=torch.float32, trust_remote_code=trust_remote_code
        )
    empty.eval().requires_grad_(False)
    with in_words(what, f"{then} model"):
        partition = locate(empty, str(folder))
    return folder, empty, partition


def followed(folder: Path, empty: PreTrainedModel, partition: Partition, processor: ProcessorMixin) -> Outline:
    """The way of a plain image through a model without values. Raises InputError where it takes none."""
    probe = image_inputs(processor, [new_image("RGB", PROBE, (90, 120, 150))], f"a plain image of {PROBE} pixels")[0]
    what = f"the visual part that {folder / 'config.json'} describes takes no image of its processor"
    with in_words(what, "copy both here again"):
        return outline(empty, partition, probe)


def _renamed(model: PreTrainedModel, names: Iterable[str]) -> dict[str, str]:
    """The name in the model of each name on disk, as `from_pretrained` would have it."""
    mapping = get_model_conversion_mapping(model)
    renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
    known, prefix = model.state_dict(), model.base_model_prefix
    found = {}
    for name in names:
        renamed, _ = rename_source_key(name, renamings, converters, prefix, known)
        if renamed not in known and name in known:
            renamed, _ = rename_source_key(name, [], [], prefix, known)
        found[name] = renamed
    return found


def unused(model: PreTrainedModel, names: Iterable[str]) -> list[str]:
    """Those of these names on disk for which the model has no place, but for those that its family leaves out."""
    known, passed = model.state_dict(), [re.compile(each) for each in model._keys_to_ignore_on_load_unexpected or ()]
    places = _renamed(model, names).items()
    return [n for n, renamed in places if renamed not in known and not any(each.search(renamed) for each in passed)]


def visual_places(folder: Path, model: PreTrainedModel, partition: Partition) -> dict[str, Path]:
    """The file of each stored tensor that the visual part is made of; reads no file but the index if there is one."""
    wanted = {*partition.visual, *partition.buffers}
    files = places(folder)
    # A converter names one target for all tensors that it is made of, so that the names below suffice for it too.
    return {name: files[name] for name, renamed in _renamed(model, files).items() if renamed in wanted}


def _stored(folder: Path, model: PreTrainedModel, partition: Partition) -> dict[str, Stored]:
    """Where each stored tensor lies that the visual part is made of, by the headers of the files that hold one."""
    visual = visual_places(folder, model, partition)
    stored: dict[str, Stored] = {}
    for file in sorted(set(visual.values())):
        held = header(file)
        for name in (name for name, place in visual.items() if place == file):
            if name not in held:
                raise InputError(f"{folder / INDEX} places {name} in {file.name}, which does not hold it.")
            stored[name] = held[name]
    odd = next((name for name, place in stored.items() if place.dtype not in DTYPES), None)
    if odd is not None:
        raise InputError(
            f"{stored[odd].file} stores {odd} as {stored[odd].dtype}; expected floats (a quantised checkpoint?)."
        )
    return stored


def _visual_part(vlm: Vlm) -> PreTrainedModel:
    """The model with its visual values, as float32, and no others."""
    model, folder, partition = deepcopy(vlm.outline), vlm.folder, vlm.partition
    with ExitStack() as stack:
        files = {place.file for place in vlm.stored.values()}
        opened = {file: stack.enter_context(safe_open(file, framework="pt")) for file in files}
        slices = {name: opened[place.file].get_slice(name) for name, place in vlm.stored.items()}
        mapping: Any = get_model_conversion_mapping(model)
        settings = LoadStateDictConfig(dtype=torch.float32, weight_mapping=mapping)
        info, _ = convert_and_load_state_dict_in_model(model, slices, settings)
    check_visual(folder, partition, info)
    missing: Any = set(info.missing_keys) & set(partition.buffers)
    model._move_missing_keys_from_meta_to_device(missing, None, None, None)
    model._initialize_missing_keys(is_quantized=False)
    return model


@as_by_default()
def load(
    model: str | Path,
    *,
    language: bool = False,
    trust_remote_code: bool = False,
    device: str | torch.device | None = None,
) -> Vlm:
    """Opens a checkpoint folder, or hf://OWNER/NAME of the hub: its visual part, and with `language` all of it.

    Of the language model nothing is read from disk unless `language`; then everything is float32, or bfloat16 where
    it is stored so, or float16 where it is stored so and goes to another `device` than the CPU. The device is auto,
    cpu, cuda, cuda:N or mps; None is what was asked for (`system.device`), auto in the end. Raises InputError for
    anything that is not a usable VLM checkpoint, for visual weights that are not finite, and for a device that is not
    there.
    """
    place = device if isinstance(device, torch.device) else chosen(device)
    folder, empty, partition = skeleton(model, trust_remote_code=trust_remote_code)
    shards(folder)
    processor = open_processor(folder, empty, trust_remote_code=trust_remote_code)
    followed(folder, empty, partition, processor)
    stored = _stored(folder, empty, partition)
    named = _renamed(empty, stored)
    dtypes = {named[name]: DTYPES[place.dtype] for name, place in stored.items() if named[name] in partition.visual}
    words: dict[str, Stored] = {}
    held: dict[str, Stored] = {}
    spoken: dict[str, str] = {}
    if language:
        held = headers(folder)
        check_amount(folder, empty, held)
        spoken = {name: renamed for name, renamed in _renamed(empty, held).items() if renamed in partition.protected}
        words = {name: held[name] for name in spoken if held[name].dtype in DTYPES}
        dtypes |= {spoken[name]: DTYPES[place.dtype] for name, place in words.items()}
    vlm = Vlm(folder, empty, empty, processor, partition, stored, dtypes, words, states(folder))
    if language and vlm.quantised:
        raise InputError(
            f"the language model in {folder} is quantised ({vlm.quantised}) and cannot be asked here; the visual part "
            "can be edited, with --ask never."
        )
    odd = next((name for name in spoken if held[name].dtype not in DTYPES), None)
    if odd is not None:
        raise InputError(
            f"{held[odd].file} stores {odd} as {held[odd].dtype}, expected floats: the language model seems to be "
            "quantised, which its config does not say, and cannot be asked; --ask never does without it."
        )
    if language:
        check_settings(folder)
    with in_words(f"the weights in {folder} cannot be read", "copy the checkpoint here again"):
        opened = _whole(vlm, place, trust_remote_code=trust_remote_code) if language else _visual_part(vlm)
    if left := unused(empty, held):
        LOG.warning("%s stores %d tensors that the model does not use, %s first", folder, len(left), left[0])
    opened.eval().requires_grad_(False)
    for name, parameter in visual_parameters(opened, partition).items():
        if not torch.isfinite(parameter).all():
            raise InputError(f"{folder} stores {name} with NaN or Inf; such a model cannot be edited.")
    if spread():
        spread_out(opened, place)
    opened._apply(lambda value: value if value.is_meta else value.to(place))
    return replace(vlm, model=opened)


def _whole(vlm: Vlm, place: torch.device, *, trust_remote_code: bool) -> PreTrainedModel:
    """The model with its language model, for answers."""
    found = {vlm.dtypes[name] for name in vlm.partition.visual if name in vlm.dtypes}
    half = found == {torch.bfloat16} or (found == {torch.float16} and place.type != CPU)  # no good on a CPU
    loaded: Any = AutoModelForImageTextToText.from_pretrained(
        vlm.folder,
        config=_config(vlm.folder, trust_remote_code=trust_remote_code),
        dtype=found.pop() if half else torch.float32,
        local_files_only=True,
        trust_remote_code=trust_remote_code,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are told with their names and sizes instead
    )
    opened: PreTrainedModel = loaded[0]
    check_whole(vlm.folder, opened, loaded[1])
    answer_greedily(opened)
    return opened


def part_way(before: Tensor, after: Tensor, share: float) -> Tensor:
    """The value so far on the way between two of a weight's, 1 being all of it, in dtype and place of the one after."""
    return before.detach().to(after.device).lerp(after.to(before.dtype), share).to(after.dtype)


def _unspread(vlm: Vlm) -> PreTrainedModel:
    """The model, or where its weights are spread over processes, its visual part as it is on disk."""
    return _visual_part(vlm) if spread() else vlm.model


def visual_parameters(model: PreTrainedModel, partition: Partition) -> dict[str, Parameter]:
    """The visual parameters by name."""
    parameters = dict(model.named_parameters())
    return {name: parameters[name] for name in partition.visual}


def write(
    vlm: Vlm, changed: Mapping[str, Tensor], out: Path, *, link: bool = False, protected: Iterable[str] = ()
) -> None:
    """Writes into the existing folder `out` a copy of the checkpoint with only the parameters `changed` replaced.

    They are visual ones, or among the `protected` ones that may change all the same.

    Only shards that hold a changed tensor are written anew, with the other bytes as they were. All other files that
    belong to a checkpoint are copied, which takes no room where the disk can clone; with `link` shards become hard
    links, where the disk allows and they are not the hub's. What is not known to be needed is left out (`carried`): it
    could hold what was forgotten. Raises InputError where a file was changed since the checkpoint was opened.
    """
    allowed = (*vlm.partition.visual, *protected)  # in their order, which a conversion may depend on
    unknown = sorted(changed.keys() - set(allowed))
    if unknown:
        raise InputError(f"{unknown[0]} is no visual parameter of {vlm.folder}; nothing else may be changed.")
    parameters = dict(_unspread(vlm).named_parameters())
    whole = {name: parameters[name].detach().cpu() for name in allowed}
    stored = {**vlm.stored, **vlm.language}
    # Disk names may merge or split parameters, so that all are turned back, and those that changed picked afterwards.
    before, after = (revert_weight_conversion(vlm.model, whole | dict(c)) for c in ({}, changed))
    moved = {name: tensor for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    rewritten = {stored[name].file for name in moved if name in stored}
    check_unchanged(vlm.folder, vlm.files)
    for file in carried(vlm.folder):
        place = out / file.relative_to(vlm.folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        if not (link and file not in rewritten and file.suffix == ".safetensors" and linked(file, place)):
            clone(file, place)
    patch(moved, {name: replace(s, file=out / s.file.relative_to(vlm.folder)) for name, s in stored.items()})


def visual_hash(vlm: Vlm, changed: Mapping[str, Tensor] | None = None) -> str:
    """SHA-256 over names and values of the visual parameters; tells models apart whatever their folder is called.

    Those of `changed`, by parameter name, take the place of the model's own.
    """
    digest, others = hashlib.sha256(), changed or {}
    for name, parameter in visual_parameters(_unspread(vlm), vlm.partition).items():
        value = others[name].to(parameter.dtype) if name in others else parameter.detach()
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
