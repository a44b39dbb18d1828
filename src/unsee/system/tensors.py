"""Tensors in a file, with a SHA-256 for each and for the facts beside them: a flipped bit is found when it is read."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from unsee.errors import InputError


@dataclass(frozen=True)
class TensorFile:
    """A file written by `write`: what stands beside the tensors, and the SHA-256 of each, by its name."""

    file: Path
    facts: dict[str, Any]
    sums: Mapping[str, str]

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """These tensors. Raises InputError where one is not what was written, KeyError where there is none."""
        found = {}
        try:
            with safe_open(self.file, framework="pt") as stored:
                for name in names:
                    expected, tensor = self.sums[name], stored.get_tensor(name)
                    if tensor_hash(name, tensor) != expected:
                        raise InputError(f"{self.file} is damaged: {name} is not what was written; make it again.")
                    found[name] = tensor
        except (OSError, SafetensorError) as error:
            raise InputError(f"{self.file} is damaged ({error}); make it again.") from error
        return found


def write(file: Path, tensors: Mapping[str, Tensor], form: str, facts: Mapping[str, Any]) -> None:
    """Writes a safetensors file of the format `form`. Raises OSError or SafetensorError where the disk refuses."""
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    content = json.dumps({"facts": facts, "sums": {name: tensor_hash(name, tensor) for name, tensor in whole.items()}})
    save_file(whole, file, metadata={"format": form, "content": content, "sha256": _text(content)})


def form_of(file: Path) -> str:
    """The format that a safetensors file says it has; empty where it says none or is no such file."""
    if not file.is_file():
        return ""
    try:
        with safe_open(file, framework="pt") as stored:
            return str((stored.metadata() or {}).get("format", ""))
    except (OSError, SafetensorError):
        return ""


def opened(file: Path, form: str) -> TensorFile:
    """Opens a file of this format; reads no tensor. Raises ValueError saying what is wrong with it."""
    if file.exists() and not file.is_file():
        raise ValueError("it is no file, but a folder, a pipe or a device")
    try:
        with safe_open(file, framework="pt") as stored:
            metadata, names = stored.metadata() or {}, set(stored.keys())
    except (OSError, SafetensorError) as error:
        raise ValueError(str(error)) from error
    if metadata.get("format") != form:
        raise ValueError(f"its format is {metadata.get('format')!r}, expected {form!r}")
    content = metadata.get("content", "")
    if _text(content) != metadata.get("sha256"):
        raise ValueError("its facts were changed")
    try:
        found = json.loads(content)
        facts, sums = dict(found["facts"]), dict(found["sums"])
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError("its facts are not what was written") from error
    if set(sums) != names:
        raise ValueError("tensors are missing or were added")
    return TensorFile(file, facts, sums)


def fingerprint(*parts: str) -> str:
    """SHA-256 over the parts; ties a saved state to the settings and the data it belongs to."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _text(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def tensor_hash(name: str, tensor: Tensor) -> str:
    """SHA-256 over a tensor's name, dtype, shape and bytes, hexadecimal."""
    digest = hashlib.sha256(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
    digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
