"""--config FILE.toml: options that a file holds, as they would be typed."""

import re
import tomllib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from unsee.errors import InputError, check_file, shown

SWITCHES = ("quiet", "verbose")  # off where the file says false, with every command


class Written(str):
    """An option that a file sets, as it would be typed."""

    __slots__ = ()


class Off(Written):
    """One that it turns off, as it would be typed to turn it on."""

    __slots__ = ()


def configured(args: Sequence[str]) -> list[str]:
    """The arguments with the options of the file that --config names in its place; what is typed counts more.

    Tables are for the eye alone. Raises InputError for a file that cannot be read.
    """
    for place, word in enumerate(args):
        name, equals, value = word.partition("=")
        if name != "--config":
            continue
        after = args[place + 1 :] if equals else args[place + 2 :]
        file = value if equals else args[place + 1] if place + 1 < len(args) else ""
        if not file:
            raise InputError("--config names no file; write it behind the option.")
        typed = {word.partition("=")[0] for word in (*args[:place], *after)}
        return [*args[:place], *_from_file(Path(file), typed), *configured(after)]
    return list(args)


def _from_file(file: Path, typed: Collection[str]) -> list[str]:
    check_file(file, "a file of options in TOML")
    try:
        values: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} cannot be read as TOML ({error}); expected lines such as seed = 1.") from error
    for table in [value for value in values.values() if isinstance(value, dict)]:
        values |= table
    words = list[str]()
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, dict):
            continue
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise InputError(f"{file} sets {shown(name)}, which is no option's name; expected lines such as seed = 1.")
        if name in SWITCHES and not isinstance(value, bool):
            raise InputError(f"{file} sets {name} to {shown(str(value))}; expected true or false.")
        if option in typed or (value is False and name in SWITCHES):
            continue
        words.append(Off(option) if value is False else Written(option))
        if not isinstance(value, bool):
            words += [str(part) for part in value] if isinstance(value, list) else [str(value)]
    return words


def switched(words: Sequence[str], known: str) -> list[str]:
    """The words with what a file turns off as the command takes it: left out, or --no-NAME where it is on by itself.

    `known` is the command's help. Raises InputError for a name that is not there, and for an option that is no switch.
    """
    found, names = list[str](), set(re.findall(r"--[a-z0-9-]+", known))
    kinds = dict(re.findall(r"(--[a-z0-9-]+) ([A-Z{\[]\S*)", known))  # of those that take a value
    for word in words:
        turned = f"--no-{word.removeprefix('--')}"
        if isinstance(word, Written) and word not in names and turned not in names:
            raise InputError(
                f"the file of --config sets {word.removeprefix('--')}, which is no option of this command."
            )
        if isinstance(word, Off) and word in kinds:
            raise InputError(
                f"the file of --config sets {word.removeprefix('--')} to false, which is no switch; expected "
                f"{kinds[word]}, or leave it out."
            )
        if not isinstance(word, Off):
            found.append(word)
        elif turned in names:
            found.append(turned)
    return found
