"""What a command wrote, by its hash."""

import hashlib
from pathlib import Path


def file_hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def weights_hash(folder: Path) -> str:
    """Of a checkpoint in one file."""
    return file_hash(folder / "model.safetensors")
