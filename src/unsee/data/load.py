"""The reader for a path, chosen by what the path is."""

import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from unsee.data.folder import read_folder
from unsee.data.hub import hub_name, read_hub
from unsee.data.images import check_header
from unsee.data.jsonl import read_jsonl
from unsee.data.shards import PHOTOS, expanded, read_tar
from unsee.data.tables import read_parquet, read_saved
from unsee.errors import InputError, check_kind, shown
from unsee.records import Sample
from unsee.system.disk import at_home

Reader = Callable[[Path], list[Sample]]
Images = Path | str | Sequence[Sample | Path | str | Image.Image]

FILE_READERS: dict[str, Reader] = {".jsonl": read_jsonl, ".parquet": read_parquet, ".tar": read_tar}
SAVED_MARKERS = ("dataset_info.json", "dataset_dict.json")
EXPECTED = "a folder of images, a .jsonl, .parquet or .tar file, or a folder saved by datasets"


def samples_of(images: Images) -> list[Sample]:
    """The samples of a path, see `load`, or those given; files and images in memory are of one concept.

    Raises InputError for what is no image, no path and no sample.
    """
    if isinstance(images, str | Path):
        _check_path(images)
        return load(Path(at_home(images)))
    if not isinstance(images, Sequence):
        raise InputError(f"{type(images).__name__} is no photos; expected {EXPECTED}, or a list of paths or images.")
    return [_sample(each) for each in images]


def _sample(given: Sample | Path | str | Image.Image) -> Sample:
    if isinstance(given, Sample):
        kinds = (Path, Image.Image, type(None))
        check_kind("image of a sample", given.image, kinds, "a pathlib.Path, or an image of Pillow")
        for name in ("concept", "question", "answer", "score", "subset"):
            check_kind(f"{name} of a sample", vars(given)[name], str, "a text")
        return given
    if isinstance(given, Image.Image):
        return Sample(given, "one")
    if isinstance(given, str | Path):
        _check_path(given)
        file = Path(at_home(given))
        if file.is_dir():
            raise InputError(f"{file} is a folder, in a list of photos; give the folder alone, or its files.")
        check_header(file)
        return Sample(file, "one")
    raise InputError(f"{type(given).__name__} is no photo; expected a path, an image of Pillow, or a Sample.")


def _check_path(given: str | Path) -> None:
    """Raises InputError for a text that no path can be."""
    if not str(given) or "\0" in str(given):
        raise InputError(f"{shown(str(given))} is no path; expected {EXPECTED}.")


def load_readable(path: Path) -> tuple[list[Sample], list[str]]:
    """The samples of a folder of images whose every pixel can be read, and why the others cannot.

    Raises InputError as `load` does, and for what is no folder of images.
    """
    if not path.is_dir() or _reader(path) is not read_folder:
        raise InputError(f"{path} is no folder of images; files that cannot be read are skipped in folders alone.")
    skipped = list[str]()
    samples = read_folder(path, skipped)
    if not samples:
        raise InputError(f"{path} holds no image that can be read; the first is: {skipped[0] if skipped else 'none'}")
    return samples, skipped


def load(path: Path) -> list[Sample]:
    """The samples at `path`, in an order that depends on nothing but the content.

    It is a folder of images, a JSONL, Parquet or tar file, a folder saved by `datasets`, a range or pattern of tar
    files (photos-{000..099}.tar), or hf://datasets/OWNER/NAME[/SPLIT] of the hub.

    A folder of images is sorted by relative path; rows of a file keep their order. Images of a folder or JSONL file
    stay files; those embedded in other files become files, or few of them are decoded into memory. Raises InputError,
    naming file and row, where the path is missing or unreadable, is none of these kinds, or holds no image.
    """
    samples = read_hub(name) if (name := hub_name(path)) else _of_disk(path)
    if not samples:
        raise InputError(f"{path} holds no image; expected {EXPECTED}, so add images or correct the path.")
    return samples


def _of_disk(path: Path) -> list[Sample]:
    try:
        return [sample for part in expanded(path) for sample in _reader(part)(part)]
    except OSError as error:
        raise InputError(
            f"{error.filename or path} cannot be read ({error.strerror or error}); expected {EXPECTED}, "
            "so correct the path or its permissions."
        ) from error


def _reader(path: Path) -> Reader:
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        return read_saved if _is_saved(path) else read_folder
    reader = FILE_READERS.get(path.suffix.lower())
    if not stat.S_ISREG(mode) or reader is None:
        raise InputError(f"{path} is none of the files unsee reads; expected {EXPECTED}, so put images into a folder.")
    return reader


def _is_saved(folder: Path) -> bool:
    """Whether `datasets` wrote it; a state.json beside photos is another program's."""
    if any((folder / name).is_file() for name in SAVED_MARKERS):
        return True
    return (folder / "state.json").is_file() and not any(file.suffix.lower() in PHOTOS for file in folder.rglob("*"))
