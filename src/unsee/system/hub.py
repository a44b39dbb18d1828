"""Folders that may be on the model hub: a name is looked up there only where it says so."""

from pathlib import Path
from typing import Literal

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from unsee.errors import InputError, check_kind
from unsee.system.disk import at_home

HUB = "hf://"  # before OWNER/NAME


def on_hub(name: str | Path) -> str | None:
    """OWNER/NAME where `name` is hf://OWNER/NAME."""
    text = str(name)
    return text.removeprefix(HUB) if text.startswith(HUB) else None


def refuse(name: str | Path, expected: str) -> InputError:
    """The error for a folder that is not here."""
    text = str(name)
    hint = f"; for the hub's write {HUB}{text} or add --hub" if text.count("/") == 1 and text[0] not in "./~" else ""
    return InputError(f"{text} is not a folder; expected {expected}{hint}.")


def folder(name: str | Path, kind: Literal["model", "dataset"], expected: str, leave: tuple[str, ...] = ()) -> Path:
    """A folder here, or the snapshot of hf://OWNER/NAME, without files that match `leave`.

    Raises InputError where there is no such folder, or the hub does not give it.
    """
    check_kind("the folder", name, (str, Path), expected)
    found = on_hub(name)
    if found is None:
        place = Path(at_home(name))
        if place.is_dir():
            return place
        raise refuse(name, expected)
    try:
        return Path(snapshot_download(found, repo_type=kind, ignore_patterns=list(leave)))
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"the hub cannot be reached, or HF_HUB_OFFLINE is set, and no copy of the {kind} {found} is in its cache; "
            "fetch it where there is a network, or give a folder."
        ) from error
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise InputError(
            f"the hub does not give the {kind} {found} ({type(error).__name__}); check the name."
        ) from error
