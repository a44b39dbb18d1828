"""Checkpoint folders: opening one safely, and writing an edited copy that differs in the edited tensors alone."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin
from transformers.core_model_loading import revert_weight_conversion

from unsee.errors import InputError
from unsee.models.locate import Partition, locate

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Vlm:
    """An opened vision-language model: float32, in evaluation mode, nothing requiring gradient."""

    folder: Path
    model: PreTrainedModel
    processor: ProcessorMixin
    partition: Partition


def _folder(model: str | Path) -> Path:
    path = Path(model)
    if path.is_dir():
        return path
    if path.exists() or str(model).count("/") != 1 or str(model).startswith((".", "/")):
        raise InputError(
            f"{model} is not a folder; expected a checkpoint folder of transformers or a hub id OWNER/NAME."
        )
    try:
        return Path(snapshot_download(str(model), ignore_patterns=["*.bin", "*.pt", "*.pth"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(
            f"{model} is neither a folder here nor a model that the hub gives ({type(error).__name__}); check the name."
        ) from error


def _indexed(index: Path) -> list[str]:
    """The files that an index names, sorted."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        raise InputError(f"{index} cannot be read ({error}); expected the index of a sharded checkpoint.") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name:
            raise InputError(f"{index} names the file {name!r}; expected one in its own folder.")
    return sorted(names)


def shards(folder: Path) -> list[Path]:
    """The safetensors files that hold a checkpoint's weights.

    As in transformers, a single file counts before an index.

    Raises InputError where there are none (pickled weights are refused) or one that the index names is missing.
    """
    whole = folder / "model.safetensors"
    names = _indexed(folder / INDEX) if (folder / INDEX).exists() and not whole.exists() else [whole.name]
    missing = [name for name in names if not (folder / name).is_file()]
    if not missing:
        return [folder / name for name in names]
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth"))
    if pickled:
        raise InputError(
            f"{folder} holds pickled weights ({pickled[0]}), which can run code when opened; "
            "save the model again as safetensors."
        )
    raise InputError(f"{folder} lacks {missing[0]}; expected a checkpoint saved as safetensors.")


def load(model: str | Path) -> Vlm:
    """Opens a checkpoint folder or hub id. Raises InputError for anything that is not a usable VLM checkpoint."""
    folder = _folder(model)
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} has no config.json; expected a checkpoint folder of transformers.")
    shards(folder)
    try:
        config = AutoConfig.from_pretrained(folder)
    except (ValueError, OSError, KeyError) as error:
        raise InputError(
            f"{folder / 'config.json'} cannot be read ({error}); expected a transformers config."
        ) from error
    if type(config) not in AutoModelForImageTextToText._model_mapping:
        raise InputError(
            f"{folder} holds a {config.model_type} model, which takes no images; expected a vision-language model."
        )
    try:
        processor = AutoProcessor.from_pretrained(folder)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise InputError(
            f"{folder} has no usable processor ({str(error).splitlines()[0]}); "
            "expected the image processor and tokenizer beside the weights."
        ) from error
    if "image_processor" not in processor.get_attributes():
        raise InputError(
            f"{folder} has no image processor; "
            "expected preprocessor_config.json or processor_config.json beside the weights."
        )
    try:
        opened = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except (ValueError, OSError, RuntimeError, SafetensorError) as error:
        raise InputError(f"the weights in {folder} cannot be read ({str(error).splitlines()[0]}).") from error
    opened.requires_grad_(False)
    opened.eval()
    return Vlm(folder, opened, processor, locate(opened, str(folder)))


def stored_names(model: PreTrainedModel, names: Iterable[str]) -> dict[str, str]:
    """The name on disk of each parameter. Raises InputError where disk and module tensors do not correspond 1 to 1."""
    parameters = dict(model.named_parameters())
    found = {}
    for name in names:
        disk = list(revert_weight_conversion(model, {name: parameters[name].detach()}))
        if len(disk) != 1:
            raise InputError(f"{name} is stored as {len(disk)} tensors on disk; this family is not supported.")
        found[name] = disk[0]
    return found


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_shard(source: Path, out: Path, changed: Mapping[str, Tensor]) -> set[str]:
    """Copies a shard with the changed tensors put in, rounded to the stored dtype; returns those it held."""
    with safe_open(source, framework="pt") as shard:
        names, metadata = list(shard.keys()), shard.metadata()
        held = changed.keys() & set(names)
        if not held:
            shutil.copyfile(source, out)
            return set()
        tensors = {name: shard.get_tensor(name) for name in names}
    for name in held:
        if tensors[name].shape != changed[name].shape:
            raise InputError(
                f"{source} stores {name} as {tuple(tensors[name].shape)}, not {tuple(changed[name].shape)}."
            )
        tensors[name] = changed[name].to(tensors[name].dtype).contiguous()
    save_file(tensors, out, metadata=metadata)
    shutil.copymode(source, out)  # safetensors lets nobody but the owner read
    return held


def write(source: Path, changed: Mapping[str, Tensor], out: Path) -> None:
    """Writes into the existing folder `out` a copy of the checkpoint `source` with only the tensors `changed` replaced.

    `changed` maps names on disk to tensors. Files without a changed tensor are copied byte for byte.
    """
    weights = set(shards(source))
    left = set(changed)
    for file in sorted(source.iterdir()):
        if file in weights:
            left -= _write_shard(file, out / file.name, changed)
        elif file.is_file():
            shutil.copyfile(file, out / file.name)
    if left:
        raise InputError(f"{source} stores no tensor named {sorted(left)[0]}; this family is not supported.")


def protected_differences(before: Path, after: Path, visual: Iterable[str]) -> tuple[int, list[str]]:
    """Compares every stored tensor that is not `visual` (names on disk), byte for byte.

    Returns how many were compared and the names of those that differ or are missing on either side.
    """
    trained = set(visual)
    index = {name: path for path in shards(after) for name in _names(path)}
    compared, different = 0, []
    for path in shards(before):
        with safe_open(path, framework="pt") as shard:
            for name in sorted(set(shard.keys()) - trained):
                compared += 1
                if name not in index or not _same(shard.get_tensor(name), index[name], name):
                    different.append(name)
                index.pop(name, None)
    return compared, different + sorted(set(index) - trained)


def _names(path: Path) -> list[str]:
    with safe_open(path, framework="pt") as shard:
        return list(shard.keys())


def _same(tensor: Tensor, path: Path, name: str) -> bool:
    with safe_open(path, framework="pt") as shard:
        other = shard.get_tensor(name)
    if tensor.dtype != other.dtype or tensor.shape != other.shape:
        return False
    return torch.equal(tensor.contiguous().view(-1).view(torch.uint8), other.contiguous().view(-1).view(torch.uint8))


def sync(folder: Path) -> None:
    """Flushes every file of a folder, and the folder, to the disk."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def visual_hash(vlm: Vlm) -> str:
    """SHA-256 over names and values of the visual parameters; tells models apart whatever their folder is called."""
    digest = hashlib.sha256()
    parameters = dict(vlm.model.named_parameters())
    for name in vlm.partition.visual:
        digest.update(name.encode())
        digest.update(parameters[name].detach().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
