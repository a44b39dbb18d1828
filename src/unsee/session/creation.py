"""A new session: the retained photos measured once, every file of the model hashed."""

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from unsee import __version__, data
from unsee.data import Images
from unsee.errors import InputError, check_kind, check_seed
from unsee.evaluation.described import described
from unsee.evaluation.hearing import AUTO, NEVER, Ask, Tell, silent
from unsee.forgetting.by_features import FeatureMethod
from unsee.methods import NSCVF, Method
from unsee.models.carried import hashes
from unsee.models.checkpoint import load
from unsee.models.copies import refuse_copies
from unsee.models.scopes import WITH_LANGUAGE
from unsee.moments.file import save as save_moments
from unsee.moments.measure import measure, waiting_place
from unsee.session import certificate, secret, settings
from unsee.session.ledger import (
    SETTINGS,
    STATE,
    WEIGHTS,
)
from unsee.session.secret import salted
from unsee.session.settings import GUARD, Settings
from unsee.session.store import creation
from unsee.system.device import as_by_default
from unsee.system.environment import environment
from unsee.system.output import refuse_within


@as_by_default()
def create(
    folder: Path | str,
    model: str | Path,
    retain: Images,
    *,
    method: Method | None = None,
    seed: int = 0,
    memory: str = "normal",
    guard: float = GUARD,
    max_drift: float | None = None,
    ask: Ask = AUTO,
    key: Path | None = None,
    secret_file: Path | None = None,
    trust_remote_code: bool = False,
    tell: Tell = silent,
) -> None:
    """Makes a session: measures the retained images once, and hashes every file of the model.

    Without `method`, each request is made by NSCVF. Where it describes images by what the model reads, the model is
    asked about the retained ones as `ask` says (see `unsee.evaluation.described`), this once, and `tell` is given why
    it is not. With `key`, every entry of the ledger is signed. With `secret_file`, the operator's secret outside the
    folder, hashes of photos are keyed by it and the guard is encrypted with it; each request needs it again.

    Raises InputError where `folder` exists, the model or the images cannot be used, or the method would change the
    language model.
    """
    check_kind("guard", guard, (int, float), "a number of 0 or more")
    check_kind("the folder", folder, (Path, str), "the path of a folder to be made")
    settings.check(guard, max_drift)
    seed = check_seed(seed)
    method = method or NSCVF()
    if getattr(method, "scope", "visual") in WITH_LANGUAGE:
        raise InputError("a session changes no language model; give the method the scope visual or projector.")
    refuse_within(Path(folder), [retain] if isinstance(retain, str | Path) else [])
    salt, signer = secrets.token_hex(16), certificate.read_key(key)
    hidden = None if secret_file is None else secret.read(secret_file, Path(folder), salt)
    facts: dict[str, Any] = {**signer.facts}
    with creation(Path(folder), facts, signer.sign) as files:
        vlm = load(model, trust_remote_code=trust_remote_code)
        refuse_copies(vlm)  # said before the work, as an export would hand them on
        samples = data.samples_of(retain)
        data.validate(samples, "retained")
        bounds = vlm.bounds(memory)
        with waiting_place(bounds, files.parent, "moments") as scratch:
            read = isinstance(method, FeatureMethod) and isinstance(method.runs, str)
            reader, unnamed = described(vlm, samples, seed, ask if read else NEVER, tell)
            wanted = method.moment_settings(seed)
            moments, _ = measure(vlm, samples, wanted, bounds, scratch, reader=reader, alone=True, exact=True)
            hashed = tuple(salted(digest, salt, hidden) for digest in moments.hashes)
            save_moments(replace(moments, hashes=hashed, unnamed=unnamed), files / STATE, {}, {})
        save_file({}, files / WEIGHTS, metadata={"format": "pt"})
        mark = "" if hidden is None else hidden.mark
        made = Settings(str(vlm.folder.absolute()), salt, mark, method, seed, memory, guard, max_drift)
        settings.write(made, files / SETTINGS)
        facts |= {
            "unsee": __version__,
            "weights_after": moments.model,
            "retained_images": moments.count,
            "model_files": hashes(vlm.folder),
            "environment": environment(),
        }
