"""--config FILE.toml: options that a file holds, as they would be typed."""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unsee.errors import InputError, check_file, shown

SWITCHES = ("quiet", "verbose")  # off where the file says false, with every command
VALUED = ("--log-file", "--num-processes", "--accelerate-config", "--device", "--precision", "--cache")


class Written(str):
    """An option that a file sets, as it would be typed."""

    __slots__ = ()


class On(Written):
    """One that it turns on."""

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
    words, given = list[str](), set[str]()
    for name, value in _flat(values):
        option = f"--{name.replace('_', '-')}"
        if option in given:
            raise InputError(f"{file} sets {shown(name)} twice, in two tables; leave one of them out.")
        given.add(option)
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise InputError(f"{file} sets {shown(name)}, which is no option's name; expected lines such as seed = 1.")
        if option in VALUED and isinstance(value, bool):
            raise InputError(f"{file} sets {name} to {str(value).lower()}, which is no switch; expected its value.")
        if name in SWITCHES and not isinstance(value, bool):
            raise InputError(f"{file} sets {name} to {shown(str(value))}; expected true or false.")
        if option in typed or (value is False and name in SWITCHES):
            continue
        if isinstance(value, bool):
            words.append(On(option) if value else Off(option))
        elif isinstance(value, list):
            words += [Written(option), *(_plain(file, name, part) for part in value)]
        else:
            words += [Written(option), _plain(file, name, value)]
    return words


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The keys of a table and of those inside it."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield name, value


def _plain(file: Path, name: str, value: Any) -> str:
    """A value as it would be typed. Raises InputError for one that would be taken for an option."""
    text = str(value)
    if isinstance(value, str) and text.startswith("--"):
        raise InputError(f"{file} sets {shown(name)} to {shown(text)}, which reads as an option; expected its value.")
    return text


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
        if isinstance(word, (On, Off)) and word in kinds:
            raise InputError(
                f"the file of --config sets {word.removeprefix('--')} to {str(isinstance(word, On)).lower()}, which is "
                f"no switch; expected {kinds[word]}, or leave it out."
            )
        if not isinstance(word, Off):
            found.append(word)
        elif turned in names:
            found.append(turned)
    return found
