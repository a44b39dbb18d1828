"""A record as somebody edits it by hand: one place of it with something else there, or nothing."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file


def paths(value: Any, items: int, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where a record has something, of lists the first `items`."""
    if path:
        yield path
    parts = (
        value.items() if isinstance(value, dict) else list(enumerate(value))[:items] if isinstance(value, list) else ()
    )
    for name, part in parts:
        yield from paths(part, items, (*path, name))


def edited(record: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """A copy of a record with another value in one place, or without it."""
    copy = json.loads(json.dumps(record))
    node = copy
    for step in path[:-1]:
        node = node[step]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return copy


def rewritten(file: Path, change: Callable[[Any], Any]) -> None:
    """Gives a file of tensors other facts, and the sum that fits them."""
    with safe_open(file, framework="pt") as stored:
        metadata = stored.metadata()
        tensors = {name: stored.get_tensor(name) for name in list(stored.keys())}
    text = json.dumps(change(json.loads(metadata["content"])))
    digest = hashlib.sha256(text.encode()).hexdigest()
    save_file(tensors, file, metadata={**metadata, "content": text, "sha256": digest})
