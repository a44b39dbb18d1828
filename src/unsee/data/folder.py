"""A folder of images, with at most one sub-folder per concept."""

from collections.abc import Iterator
from pathlib import Path

from unsee.data.images import check_header, open_image
from unsee.errors import InputError
from unsee.records import Sample
from unsee.system.terminal import as_text

# Left behind by file managers and archivers; names that start with a dot are skipped as well.
CLUTTER = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "icon\r"}


def read_folder(folder: Path, skipped: list[str] | None = None) -> list[Sample]:
    """One sample per image, sorted by relative path; the concept is the sub-folder's name, else the folder's.

    With `skipped`, files that cannot be read are left out, and why is added to it. Raises InputError for such a file
    otherwise, and for an empty sub-folder or a folder two levels down.
    """
    found, samples = sorted(_images(folder), key=lambda item: item[0].relative_to(folder).as_posix()), list[Sample]()
    for path, concept in found:
        try:
            _check(path, whole=skipped is not None)
            samples.append(Sample(image=path, concept=concept))
        except InputError as error:
            if skipped is None:
                raise
            skipped.append(str(error))
    return samples


def _check(path: Path, *, whole: bool) -> None:
    if not path.is_file():  # opening a pipe would wait for ever
        raise InputError(f"{path} is no file (a broken link or a device); expected an image, so remove it.")
    if whole:
        open_image(path)
    else:
        check_header(path)


def _images(folder: Path) -> Iterator[tuple[Path, str]]:
    for entry in _entries(folder):
        if not entry.is_dir():
            yield entry, as_text(folder.resolve().name)
            continue
        inside = _entries(entry)
        if not inside:
            raise InputError(f"{entry} holds no image; expected the photos of one concept, so add some or remove it.")
        for path in inside:
            if path.is_dir():
                raise InputError(f"{path} is a folder two levels down; expected images there, so move it up.")
            yield path, as_text(entry.name)


def _entries(folder: Path) -> list[Path]:
    entries = sorted(folder.iterdir())
    return [entry for entry in entries if not entry.name.startswith(".") and entry.name.lower() not in CLUTTER]
