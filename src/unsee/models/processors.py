"""The checkpoint's own processor, without its part for videos, so that it is the same with and without torchvision."""

import base64
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

from transformers import AutoProcessor, PreTrainedModel, ProcessorMixin
from transformers.utils.import_utils import is_torchvision_available

from unsee.errors import InputError, shown
from unsee.models.completing import complete
from unsee.models.foreign import in_words
from unsee.models.sizes import check_picture_sizes

VIDEO = "video_processor"
COUNTS = ("num_additional_image_tokens", "image_seq_len", "image_seq_length", "num_image_tokens")  # of an image
WORD = 4  # bytes with which a table of characters says how long it is
MOST_TOKENS = 1 << 16  # of an image; the longest of published models have some thousands


@contextmanager
def without_videos() -> Iterator[None]:
    """While open, processors are built, saved and opened without their parts for videos.

    Those need torchvision, and files of their own, which a checkpoint that was saved without torchvision lacks.
    """
    attributes: Any = ProcessorMixin.get_attributes
    arguments: Any = ProcessorMixin._get_arguments_from_pretrained
    start: Any = ProcessorMixin.__init__

    def still(kind: type[ProcessorMixin]) -> list[str]:
        return [name for name in attributes.__func__(kind) if name != VIDEO]

    def loaded(kind: type[ProcessorMixin], *args: Any, **kwargs: Any) -> list[Any]:
        # They are handed on by position, so that the place of the video processor is kept.
        parts = dict(zip(still(kind), arguments.__func__(kind, *args, **kwargs), strict=True))
        return [parts.get(name) for name in attributes.__func__(kind)]

    def init(self: ProcessorMixin, *args: Any, **kwargs: Any) -> None:
        parts = dict(zip(attributes.__func__(type(self)), args, strict=False)) | kwargs
        parts.pop(VIDEO, None)
        start(self, **parts)
        self.video_processor = None

    replaced: dict[str, Any] = {
        "get_attributes": classmethod(still),
        "_get_arguments_from_pretrained": classmethod(loaded),
        "__init__": init,
    }
    with patch.multiple(ProcessorMixin, **replaced):
        if not is_torchvision_available():
            _import_pixtral()
        yield


def _import_pixtral() -> None:
    """Imports a processor that wants one function of the image processor with torchvision; the other has it too."""
    folder = "transformers.models.pixtral"
    name = f"{folder}.image_processing_pixtral"
    if f"{folder}.processing_pixtral" in sys.modules:
        return
    with patch.dict(sys.modules):
        sys.modules[name] = import_module(f"{folder}.image_processing_pil_pixtral")
        processing = import_module(f"{folder}.processing_pixtral")
    sys.modules[f"{folder}.processing_pixtral"] = processing
    vars(import_module(folder))["PixtralProcessor"] = processing.PixtralProcessor


def open_processor(
    folder: Path, model: PreTrainedModel | None = None, *, trust_remote_code: bool = False
) -> ProcessorMixin:
    """The processor of a checkpoint folder, with what it lacks and its `model` says.

    Raises InputError where it is missing, damaged or takes no images.
    """
    _refuse_other_models(folder)
    _check_charsmap(folder / "tokenizer.json")
    then = "expected the image processor and tokenizer beside the weights"
    with in_words(f"{folder} has no usable processor", then), without_videos():
        processor = AutoProcessor.from_pretrained(folder, trust_remote_code=trust_remote_code)
    if not isinstance(processor, ProcessorMixin) or "image_processor" not in processor.get_attributes():
        raise InputError(
            f"{folder} has no image processor; "
            "expected preprocessor_config.json or processor_config.json beside the weights."
        )
    for name in COUNTS:
        if isinstance(count := getattr(processor, name, None), int) and not 0 <= count <= MOST_TOKENS:
            raise InputError(
                f"the processor in {folder} has {shown(count)} as {name}; expected 0 to {MOST_TOKENS:,}, so copy its "
                "files here again."
            )
    pictures: Any = processor.image_processor
    check_picture_sizes(folder, pictures.to_dict())
    if model is not None:
        complete(processor, model)
    return processor


def _refuse_other_models(folder: Path) -> None:
    """Raises InputError where a processor's file names another model, which would be opened, or loaded from the hub."""
    file = folder / "processor_config.json"
    if isinstance(found := _read(file), dict) and found.get("audio_tokenizer") is not None:
        raise InputError(f"{file} names an audio tokenizer, which is a model of its own; take that entry out.")


def _check_charsmap(file: Path) -> None:
    """Raises InputError for a table of characters that says it is longer than it is: its reader ends the process."""
    waiting: list[Any] = [found.get("normalizer")] if isinstance(found := _read(file), dict) else []
    while waiting:
        part = waiting.pop()
        if not isinstance(part, dict):
            continue
        waiting += part["normalizers"] if isinstance(part.get("normalizers"), list) else []
        table = part.get("precompiled_charsmap")
        if not isinstance(table, str):
            continue
        try:
            content = base64.b64decode(table)
        except ValueError:
            continue  # its reader says so
        if len(content) < WORD or int.from_bytes(content[:WORD], "little") > len(content) - WORD:
            raise InputError(f"{file} holds a precompiled_charsmap that is cut off or damaged; copy the file again.")


def _read(file: Path) -> Any:
    """What a JSON file says; None where it is not there or cannot be read, which its own reader says."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
