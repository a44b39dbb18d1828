"""Sizes in configs and processors that no model has, found before anything is built of them.

A million layers would be built one after the other, and an image of a million pixels a side would take all memory.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unsee.errors import InputError, shown

LARGE = 100_000_000  # parameters from which on a model is asked fewer questions, and fewer at once
MOST_LAYERS = 300  # of any kind; the deepest published models have about 130
MOST_SIDE, MOST_AREA = 16_384, 1 << 26  # pixels a side, and altogether, that a processor may make
MOST_LABELS = 1_000_000  # of which transformers makes a table
COUNTED = ("layers", "depth", "depths", "blocks", "stages")  # how keys end that count what is built one by one
SIDES = ("height", "width", "image_size", "shortest_edge", "longest_edge")
AREAS = ("merge_size", "min_pixels")  # processors that have these mean pixels altogether by their edges
SCALES = ("image_mean", "image_std", "rescale_factor")


def _values(value: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every number, text and the like of a record, with the key that it has or that its list has."""
    if depth > 50:
        return
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _values(part, str(name), depth + 1)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _values(part, key, depth + 1)
    else:
        yield key, value


def check_layers(file: Path, config: Mapping[str, Any]) -> None:
    """Raises InputError where a config asks for more than MOST_LAYERS layers of any kind, for none, or many labels."""
    for key, value in _values(config):
        if key == "num_labels" and isinstance(value, int) and not 0 <= value <= MOST_LABELS:
            raise InputError(
                f"{file} has {shown(value)} as {key}; expected 0 to {MOST_LABELS:,}, so copy the file here again."
            )
        if key.split("_")[-1] not in COUNTED or not isinstance(value, int):  # others name layers, from behind too
            continue
        if value > MOST_LAYERS or (key == "num_hidden_layers" and value < 1):
            raise InputError(
                f"{file} has {shown(value)} as {key}; expected 1 to {MOST_LAYERS:,}, so copy the file here again."
            )


def check_picture_sizes(folder: Path, settings: Mapping[str, Any]) -> None:
    """Raises InputError where an image processor would make too large a picture, or numbers that are not finite."""
    most = MOST_SIDE if all(settings.get(name) is None for name in AREAS) else MOST_AREA
    for key, value in _values(settings):
        if not isinstance(value, int | float):
            continue
        if key in SIDES and not value <= most:
            raise InputError(
                f"the image processor in {folder} has {shown(value)} as {key}; expected at most {most:,} pixels, "
                "so copy its files here again."
            )
        if key in SCALES and (not math.isfinite(value) or (value == 0 and key != "image_mean")):
            raise InputError(
                f"the image processor in {folder} has {shown(value)} as {key}; expected a number that can be "
                "multiplied or divided by, so copy its files here again."
            )
