"""Versions and machine, for records."""

import platform
from datetime import UTC, datetime
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


def now() -> str:
    """The time in UTC, as in 2026-11-26T09:30:00+00:00."""
    return datetime.now(UTC).isoformat(timespec="seconds")
