"""The actions of `unsee session` that open the model."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from unsee.cli.asking import asked_of_target
from unsee.cli.parse import asked, chosen, located, parse
from unsee.cli.photos import given
from unsee.cli.progress import noting
from unsee.cli.quiet import quiet
from unsee.cli.session_options import (
    CapacityOptions,
    Export,
    Forget,
    Init,
    Relocate,
    Seal,
    Settle,
    Undo,
    Verify,
    Withdraw,
)
from unsee.cli.table import print_checks, print_table, say, tell_of, warn
from unsee.cli.telling import out, out_json, tell
from unsee.errors import InputError
from unsee.methods import find
from unsee.reporting.summary import FAILED, PASSED
from unsee.session.audit import verify
from unsee.session.creation import create
from unsee.session.ledger import CERTIFICATES, BrokenSessionError, head
from unsee.session.session import Session
from unsee.session.store import Store
from unsee.system.output import refuse_existing

SHORT = {
    "Photos": ("target", "retain"),
    "The request": ("id", "reason", "later", "key", "secret"),
    "What the model is asked": ("question", "questions"),
    "What is written": ("keep-anyway", "keep-undo"),
}
SHORT_SETTLE = {
    "Photos": ("retain",),
    "The requests": ("key", "secret"),
    "What the model is asked": ("ask", "question"),
    "What is written": ("keep-anyway",),
}
SHORT_INIT = {
    "Model and photos": ("model", "retain"),
    "What requests are like": ("ask", "guard", "max-drift", "seed", "memory"),
    "Who may read and sign": ("key", "secret"),
}
ELSEWHERE = "Keep this line elsewhere: verify --head finds a copy that was cut off or rolled back."


def main(action: str, args: list[str]) -> int:
    """Runs one action."""
    return RUN[action](args)


def _init(args: list[str]) -> int:
    name, rest = chosen(args)
    kind: Any = Init
    options = located(parse(kind[find(name)], rest, "unsee session init", SHORT_INIT))
    quiet()
    with noting():
        create(
            options.dir,
            options.model,
            given(options.retain, skip=options.skip_unreadable),
            method=options.method,
            seed=options.seed,
            memory=options.memory,
            guard=options.guard,
            max_drift=options.max_drift,
            ask=asked(options.ask),
            key=options.key,
            secret_file=options.secret,
            trust_remote_code=options.trust_remote_code,
            tell=lambda text: tell(f"{text}."),
        )
    session = Session(options.dir)
    first = session.entries[0].facts
    out(f"{options.dir}: {first['retained_images']} retained images, weights {first['weights_after'][:12]}.")
    out(session.head, ELSEWHERE)
    return 0


def _open(folder: Path, *, secret: Path | None = None, trust_remote_code: bool = False, method: str = "") -> Session:
    quiet()
    session = Session(folder, secret_file=secret, trust_remote_code=trust_remote_code, method=method)
    tell_of(session.folder, session.store.left)
    return session


def _after(session: Session) -> None:
    """Says, after a change, what was made good before it and where the ledger ends now."""
    tell_of(session.folder, session.store.recovered)
    out(session.head, ELSEWHERE)


def _forget(args: list[str]) -> int:
    options = parse(Forget, args, "unsee session forget", SHORT)
    if options.later:
        return _later(options)
    session = _open(
        options.dir, secret=options.secret, trust_remote_code=options.trust_remote_code, method=options.method
    )
    skip, skipped = options.skip_unreadable, list[str]()
    target = given(options.target, skip=skip, left_out=skipped)
    own = asked_of_target(options.questions, target)
    with noting():
        facts = session.forget(
            target,
            options.id,
            reason=options.reason,
            retain=None if options.retain is None else given(options.retain, skip=skip),
            public=options.public,
            benchmark=options.benchmark,
            keep_undo=options.keep_undo,
            key=options.key,
            ask=asked(options.ask, options.question),
            questions=own,
            answer_from_folder=options.answer_from_folder,
            drop_similar=options.drop_similar,
            keep_anyway=options.keep_anyway,
            skipped=len(skipped),
            tell=partial(tell_of, session.folder),
        )
    passed = _say_verdict(facts)
    _say_request(facts, options.dir)
    _say_edit(facts)
    _after(session)
    if options.keep_undo:
        warn("undo data is kept: it is what was forgotten, and unsee session seal destroys it.")
    return 0 if passed else 1


def _later(options: Forget) -> int:
    said, plain = vars(options), vars(Forget(options.dir, options.target, options.id))
    known = ("dir", "target", "id", "reason", "later", "skip_unreadable", "key", "secret", "trust_remote_code")
    for name in said:
        if name not in known and said[name] != plain[name]:
            raise InputError(f"--{name.replace('_', '-')} says how a request is made; give it to unsee session settle.")
    session = _open(options.dir, secret=options.secret)
    skipped = list[str]()
    target = given(options.target, skip=options.skip_unreadable, left_out=skipped)
    session.later(target, options.id, reason=options.reason, key=options.key, skipped=len(skipped))
    out(f"{options.id} waits, with {len(session.queued())} in the queue; unsee session settle makes them all.")
    _after(session)
    return 0


def _settle(args: list[str]) -> int:
    options = parse(Settle, args, "unsee session settle", SHORT_SETTLE)
    session = _open(
        options.dir, secret=options.secret, trust_remote_code=options.trust_remote_code, method=options.method
    )
    with noting():
        made = session.settle(
            retain=options.retain,
            public=options.public,
            benchmark=options.benchmark,
            key=options.key,
            ask=asked(options.ask, options.question),
            answer_from_folder=options.answer_from_folder,
            drop_similar=options.drop_similar,
            keep_anyway=options.keep_anyway,
            tell=partial(tell_of, session.folder),
        )
    passed = _say_verdict(made[0])
    for facts in made:
        _say_request(facts, options.dir)
    _say_edit(made[0])
    out(f"{len(made)} requests are made, and the photos that waited are erased.")
    _after(session)
    return 0 if passed else 1


def _say_verdict(facts: dict[str, Any]) -> bool:
    verdict: dict[str, Any] = facts["verdict"]
    say(PASSED if verdict["passed"] else FAILED, verdict["sentence"])
    return bool(verdict["passed"])


def _say_request(facts: dict[str, Any], folder: Path) -> None:
    for warning in facts["warnings"]:
        tell(f"warning: {facts['id']}: {warning}.")
    taken = f"{facts['taken_out_of_statistics']} of {facts['target_images']} target images"
    out(f"{facts['id']}: {taken} taken out of the statistics, {facts['retained_statistics']} left.")
    out(f"certificate: {folder / CERTIFICATES / facts['id']}.json")


def _say_edit(facts: dict[str, Any]) -> None:
    worst = max(facts["drift"], key=facts["drift"].__getitem__)
    out(f"{facts['method']['stopped']}; largest drift {facts['drift'][worst]:.2g} ({worst}).")
    out(f"weights {facts['weights_before'][:12]} -> {facts['weights_after'][:12]}, {len(facts['changed'])} tensors.")
    for score in facts["scores"]:
        if score["phase"] == "after":
            out(f"{score['name']}/{score['subset']} {score['value']:.3f}")


def _withdraw(args: list[str]) -> int:
    options = parse(Withdraw, args, "unsee session withdraw")
    session = _open(options.dir)
    session.withdraw(options.id, key=options.key)
    out(f"{options.id} is out of the queue, and its photos are erased.")
    _after(session)
    return 0


def _undo(args: list[str]) -> int:
    options = parse(Undo, args, "unsee session undo")
    session = _open(options.dir)
    session.undo(options.id, key=options.key)
    out(f"{options.id} is taken back: weights {session.entries[-1].facts['weights_after'][:12]}, as before it.")
    _after(session)
    return 0


def _seal(args: list[str]) -> int:
    options = parse(Seal, args, "unsee session seal")
    session = _open(options.dir)
    out(f"undo data of {session.seal(key=options.key)} requests is destroyed.")
    _after(session)
    return 0


def _relocate(args: list[str]) -> int:
    options = parse(Relocate, args, "unsee session relocate")
    session = _open(options.dir)
    session.relocate(options.model, key=options.key)
    out(f"{options.dir}: the model lies in {session.settings.model}.")
    _after(session)
    return 0


def _verify(args: list[str]) -> int:
    options = parse(Verify, args, "unsee session verify")
    quiet()
    try:
        said = verify(options.dir, options.public_key, head=options.head, trust_remote_code=options.trust_remote_code)
    except BrokenSessionError as error:
        tell(f"{options.dir}: {error}")
        return 1
    out(f"{options.dir} holds: {said}.")
    out(head(Store(options.dir).entries))
    return 0


def _export(args: list[str]) -> int:
    options = parse(Export, args, "unsee session export")
    session = _open(options.dir, trust_remote_code=options.trust_remote_code)
    refuse_existing(options.out, overwrite=options.overwrite, reads=(options.dir, session.settings.model))
    check = session.export(options.out, link=options.link, overwrite=options.overwrite)
    out(f"{options.out} is written.")
    if not session.standing():
        tell("no request stands in this session, so that what was written is the model as it was at first")
    print_checks([check])
    return 0 if check.passed else 1


def _capacity(args: list[str]) -> int:
    options = parse(CapacityOptions, args, "unsee session capacity")
    found = _open(options.dir, secret=options.secret, trust_remote_code=options.trust_remote_code).capacity()
    if options.json:
        out_json(json.dumps([asdict(each) for each in found], indent=1))
        return 0
    rows = [
        {
            "inputs of": each.layer,
            "width": str(each.width),
            "free at first": f"{each.free_before:.1f}",
            "free now": f"{each.free:.1f}",
            "drift": f"{each.drift:.2g}",
        }
        for each in found
    ]
    print_table(rows)
    return 0


RUN: dict[str, Callable[[list[str]], int]] = {
    "init": _init,
    "forget": _forget,
    "settle": _settle,
    "withdraw": _withdraw,
    "undo": _undo,
    "seal": _seal,
    "verify": _verify,
    "relocate": _relocate,
    "export": _export,
    "capacity": _capacity,
}
