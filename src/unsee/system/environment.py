"""Versions and machine, for records."""

import platform
from importlib.metadata import version
from typing import Any

import torch


def environment() -> dict[str, Any]:
    """Versions and machine, for records. With another number of threads the same run may give other last bits."""
    packages = ("torch", "transformers", "safetensors", "numpy", "scipy", "scikit-learn", "pillow")
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        **{name: version(name) for name in packages},
    }
