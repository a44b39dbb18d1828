"""`unsee export`: an edit carried over to another checkpoint with the same visual module, as a quantised one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from unsee.cli.parse import parse
from unsee.cli.quiet import quiet
from unsee.cli.table import print_checks
from unsee.cli.telling import out
from unsee.errors import InputError
from unsee.evaluation.evaluate import language_model_unchanged
from unsee.forgetting.edit import read_record, write_record
from unsee.models.checkpoint import load, visual_hash, visual_parameters, write
from unsee.models.copies import refuse_copies
from unsee.models.scopes import WITH_LANGUAGE
from unsee.records import plain
from unsee.system.output import RECORD, refuse_existing, with_folder

HANDED_ON = ("request", "method", "seed", "timings", "layers", "verdict")  # of the record of the edit


@dataclass(frozen=True)
class Options:
    """Put an edited visual module into another checkpoint of the same model, as into a quantised one that is served.

    The visual module of that checkpoint must be the one that was edited, value for value; the language model may be
    stored in another way, and stays byte for byte what it is.

    Example:
      unsee export --from out/alice --onto served/my-vlm-awq --out served/my-vlm-awq-alice
    """

    edited: Annotated[Path, tyro.conf.arg(name="from")]
    """An edited checkpoint that unsee wrote, with its record."""
    onto: str
    """The checkpoint to take everything else from."""
    out: Path
    """Folder to write; it must not exist."""
    link: bool = False
    """Make weight files that do not change hard links."""
    trust_remote_code: bool = False
    """Run code that the checkpoint brings along."""
    overwrite: bool = False
    """Replace --out if it exists and unsee wrote it."""


def main(args: list[str]) -> int:
    """Writes the checkpoint; 1 where the language model is not what it was."""
    options = parse(Options, args, "unsee export")
    quiet()
    refuse_existing(options.out, overwrite=options.overwrite, reads=(options.edited, options.onto))
    if not options.edited.is_dir():
        raise InputError(
            f"{options.edited} is not there; give the checkpoint that unsee forget or session export made."
        )
    record = read_record(options.edited)
    before_it = record.get("weights_before", record.get("visual_before"))  # the second is of older records
    if before_it is None:
        raise InputError(
            f"{options.edited / RECORD} does not say which visual module was edited; give the checkpoint that unsee "
            "forget or session export made, or make the request again with this version of unsee."
        )
    if (scope := record.get("method", {}).get("scope")) in WITH_LANGUAGE:
        raise InputError(
            f"the request of {options.edited} has the scope {scope}, and export puts the visual module alone into "
            "another checkpoint; make the request with the scope visual."
        )
    edited = load(options.edited, trust_remote_code=options.trust_remote_code)
    if record.get("weights_after", visual_hash(edited)) != visual_hash(edited):
        raise InputError(
            f"the visual module of {options.edited} is not the one that its {RECORD} was written of; give the "
            "checkpoint as unsee wrote it."
        )
    served = load(options.onto, trust_remote_code=options.trust_remote_code)
    if visual_hash(served) != before_it:
        raise InputError(
            f"the visual module of {options.onto} is not the one that was edited; give a checkpoint of the same model "
            "whose visual module is stored in the same dtype."
        )
    refuse_copies(served)
    before = visual_parameters(served.model, served.partition)
    after = visual_parameters(edited.model, edited.partition)
    changed = {
        name: value.detach().to(served.dtype_of(name))
        for name, value in after.items()
        if not torch.equal(value, before[name])
    }
    handed_on = {name: plain(record[name]) for name in HANDED_ON if name in record}
    handed_on |= {"weights_before": visual_hash(served), "weights_after": visual_hash(served, changed)}

    def fill(folder: Path) -> None:
        write(served, changed, folder, link=options.link)
        write_record(served.folder, folder, handed_on)

    with_folder(options.out, fill, overwrite=options.overwrite)
    out(f"{options.out} is written: {len(changed)} visual tensors are those of {options.edited}.")
    check = language_model_unchanged(served, options.out)
    print_checks([check])
    return 0 if check.passed else 1
