"""Requests that wait: their photos, encrypted by the operator's secret, until all are settled as one."""

import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from unsee.data import open_image
from unsee.data.images import decode
from unsee.errors import InputError
from unsee.records import Sample
from unsee.session.ledger import BrokenSessionError
from unsee.session.secret import Secret
from unsee.system.tensors import opened, write

FORMAT = "unsee-queue-1"
CONCEPTS, SKIPPED = "concepts", "skipped_files"


def save(file: Path, identifier: str, samples: Sequence[Sample], secret: Secret, skipped: int = 0) -> None:
    """Writes the photos of a request and what their concepts are called, which cannot be read without a secret.

    Of a photo its pixels are kept, as PNG, and nothing of its file. So many files were `skipped`, as could not be read.
    """
    tensors = {}
    for number, sample in enumerate(samples):
        photo, content = open_image(sample), BytesIO()
        Image.frombytes("RGB", photo.size, photo.tobytes()).save(content, "PNG", compress_level=1)
        tensors[f"photo_{number}"] = _hidden(secret, f"{identifier} photo_{number}", content.getvalue())
    names = json.dumps([sample.concept for sample in samples]).encode()
    tensors[CONCEPTS] = _hidden(secret, f"{identifier} {CONCEPTS}", names)
    file.parent.mkdir(exist_ok=True)
    write(file, tensors, FORMAT, {SKIPPED: skipped})


def read(file: Path, identifier: str, secret: Secret) -> tuple[list[Sample], int]:
    """The photos of a request, decoded, and how many files were skipped.

    Raises BrokenSessionError where they are not what was written for this id.
    """
    try:
        stored = opened(file, FORMAT)
        tensors = stored.read(stored.sums)
        names = json.loads(_clear(secret, f"{identifier} {CONCEPTS}", tensors[CONCEPTS]))
        photos = (
            _clear(secret, f"{identifier} photo_{number}", tensors[f"photo_{number}"]) for number in range(len(names))
        )
        samples = [
            Sample(decode(photo, f"a photo of {identifier}"), name) for photo, name in zip(photos, names, strict=True)
        ]
        return samples, int(stored.facts.get(SKIPPED, 0))  # older sessions did not count them
    except (InputError, ValueError, KeyError, TypeError) as error:
        raise BrokenSessionError(
            f"the photos of {identifier} cannot be read ({error}); restore the session from a copy, or withdraw it."
        ) from error


def _hidden(secret: Secret, name: str, content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(secret.encrypt(name, content)), dtype=torch.uint8)


def _clear(secret: Secret, name: str, tensor: Tensor) -> bytes:
    return secret.decrypt(name, tensor.numpy().tobytes())
