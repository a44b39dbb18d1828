"""Readers: a folder of images, a JSONL or Parquet file, or a saved dataset becomes a list of Sample."""

from unsee.data.content import check_disjoint, check_sides, content_hash, hash_of, unchanged, validate, without_copies
from unsee.data.images import MAX_PIXELS, describe, open_image
from unsee.data.load import Images, load, load_readable, samples_of

__all__ = [
    "MAX_PIXELS",
    "Images",
    "check_disjoint",
    "check_sides",
    "content_hash",
    "describe",
    "hash_of",
    "load",
    "load_readable",
    "open_image",
    "samples_of",
    "unchanged",
    "validate",
    "without_copies",
]
