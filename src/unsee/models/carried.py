"""Which files of a checkpoint an edited copy has too: those that are known to be needed, and no others.

A list of what to leave out always misses something: the old weights in another format, photos, pickled objects.
"""

from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

from unsee.errors import InputError
from unsee.models.shards import INDEX, shards
from unsee.system.disk import file_hash, is_there
from unsee.system.output import WRITTEN

NAMED_SO = (
    *("config.json", "generation_config.json", "configuration.json", INDEX),
    *("*processor_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "tekken.json", "tokenizer.model"),
    *("spiece.model", "sentencepiece*.model", "*.tiktoken", "chat_template.json", "*.jinja", "*.py"),
    *("README*", "*.md", "LICEN[CS]E*", "NOTICE*", "COPYING*", "USE_POLICY*"),
)
BINARY = ("tokenizer.model", "spiece.model", "sentencepiece*.model")  # the others are text
TEXT = 64 << 20  # bytes: a tokenizer may have tens of millions; no known file but weights is larger
SMALL = 8 << 20  # bytes of what is brief; of its largest, which name a thousand classes, the most have 100,000
BRIEF = ("*config.json", "*.jinja")
TEMPLATE = "chat_template.jinja"
TEMPLATES = "additional_chat_templates"  # a folder of further ones, which transformers reads
READ = ("*.json", "*.jinja", "*.model", "*.safetensors", "merges.txt", "vocab.txt")  # what is opened
NAMED = 5  # files left out that are named


def carried(folder: Path) -> list[Path]:
    """The files of a checkpoint folder that a copy has too, sorted: its weights, and what is known to belong to them.

    Raises InputError for one that is a link out of the folder, unless into the hub's own cache, whose content would be
    handed on.
    """
    weights = set(shards(folder))
    found = sorted(weights | {file for file in named_so(folder) if _is_fit(file)})
    blobs = folder.resolve().parent.parent / "blobs"  # of the hub's cache: snapshots/REVISION/FILE leads there
    for file in found:
        place = file.resolve()
        if not (place.is_relative_to(folder.resolve()) or place.is_relative_to(blobs)):
            raise InputError(f"{file} is a link that leads out of the checkpoint; put the file itself there.")
    return found


def states(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of each of these files, by its path in the folder, as long as nobody writes to them."""
    found = {file.relative_to(folder).as_posix(): file.stat() for file in carried(folder)}
    return {name: (status.st_size, status.st_mtime_ns) for name, status in found.items()}


def check_unchanged(folder: Path, before: Mapping[str, tuple[int, int]]) -> None:
    """Raises InputError where a file is gone, new, or was written to since `states` gave this of before."""
    now = states(folder)
    if other := next((name for name in sorted({*before, *now}) if before.get(name) != now.get(name)), None):
        raise InputError(
            f"{folder / other} was changed, added or removed while the work ran; put the checkpoint right and begin "
            "again."
        )


def hashes(folder: Path, known: dict[tuple[int, int], str] | None = None) -> dict[str, str]:
    """SHA-256 of every file that an edited copy has, by its path in the folder.

    `known` remembers files by their identity on the disk, so that a hard link is not read twice.
    """
    known = {} if known is None else known
    found = {}
    for file in carried(folder):
        status = file.stat()
        identity = (status.st_dev, status.st_ino)
        if identity not in known:
            known[identity] = file_hash(file)
        found[file.relative_to(folder).as_posix()] = known[identity]
    return found


def check_plain(folder: Path) -> None:
    """Raises InputError where a file that belongs to a checkpoint is a pipe, a device or a folder, or far too large.

    Such a one would be read for ever, or until the memory is full.
    """
    for file in sorted([*folder.iterdir(), *folder.glob(f"{TEMPLATES}/*")]):
        if not any(fnmatch(file.name, pattern) for pattern in READ) or not is_there(file):
            continue
        if not file.is_file():
            raise InputError(f"{file} is no file (a folder, a broken link or a device); copy the file itself there.")
        most = SMALL if any(fnmatch(file.name, pattern) for pattern in BRIEF) else TEXT
        if file.stat().st_size > most and file.suffix != ".safetensors":
            raise InputError(f"{file} has {file.stat().st_size:,} bytes; expected at most {most:,}, so copy it again.")
        if (file.name == TEMPLATE or file.parent.name == TEMPLATES) and b"\0" in file.read_bytes():
            raise InputError(f"{file} holds a zero byte, which no text has; copy the file again.")


def left_out(folder: Path) -> list[str]:
    """The other files of the folder, but hidden ones and unsee's records, by their paths in it."""
    kept = set(carried(folder))
    names = [file.relative_to(folder).as_posix() for file in _plain(folder) if file not in kept]
    return [name for name in names if name not in WRITTEN]


def told(names: list[str]) -> str:
    """Files left out, in words, the first NAMED by name."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _plain(folder: Path) -> list[Path]:
    """All files of the folder that are not hidden, sorted."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return sorted(file for file in files if not any(p.startswith(".") for p in file.relative_to(folder).parts))


def named_so(folder: Path) -> list[Path]:
    """The files that are called as such that belong to a checkpoint, beside the weights or as templates in a folder.

    Whatever is in them, because few of these names have an ending.
    """

    def known(file: Path) -> bool:
        patterns = NAMED_SO if file.parent == folder else ("*.jinja",)
        return any(fnmatch(file.name, pattern) for pattern in patterns) and file.stat().st_size <= TEXT

    return [file for file in _plain(folder) if known(file)]


def _is_fit(file: Path) -> bool:
    """Whether a file is text where such files are: numbers and pictures under a text's name are not handed on."""
    if any(fnmatch(file.name, pattern) for pattern in BINARY):
        return True
    try:
        return "\0" not in file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
