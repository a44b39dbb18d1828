"""The certificate of a session's request -> a page to be printed. Standard library and jinja2 only."""

from collections.abc import Mapping
from typing import Any

from unsee.records import OWN, Result, Score
from unsee.reporting import summary
from unsee.reporting.page import CLASSES, environment


def render_certificate(facts: Mapping[str, Any]) -> str:
    """The page as HTML text; every text of the certificate is escaped."""
    scores = [Score(**{**score, "ci95": tuple(score["ci95"])}) for score in facts.get("scores", ())]
    measured = {"benchmark": "" if scores else OWN, "target_concepts": 0}
    verdict = facts.get("verdict")
    result = Result("", {}, {}, 0, measured, {}, scores, [], [], {}, verdict=verdict, time=facts["time"])
    found = summary.lines(result)
    photos = facts["target_images"]
    shown = f"{photos} photo{'' if photos == 1 else 's'}"
    about = f"{shown}, request {facts['number']} of its session, {summary.date(facts['time'])}"
    if (together := facts.get("settled_together", 1)) > 1:
        about += f"; waited since {summary.date(facts['queued'])}, and made as one edit with {together - 1} more, "
        about += "of all of which the verdict speaks"
    template = environment().get_template("certificate.html")
    return template.render(
        title=f"Certificate of request {facts['id']}", about=about, lines=found, state=summary.state(found),
        facts=_facts(facts), signed="signature" in facts, unsee=facts["unsee"], id=facts["id"], CLASSES=CLASSES,
        attempts=[],
    )  # fmt: skip


def _facts(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    drift = facts["drift"]
    worst = max(drift, key=drift.__getitem__, default="")
    found = {
        "Reason": facts["reason"] or "none given",
        "Weights before": facts["weights_before"],
        "Weights after": facts["weights_after"],
        "Method": f"{facts['method'].get('name', '')}, seed {facts['seed']}; {facts['method'].get('stopped', '')}",
        "Changed": f"{len(facts['changed'])} tensors, all visual",
        "Photos taken out of the statistics": f"{facts['taken_out_of_statistics']} of {facts['target_images']}",
        "Photos in the statistics now": str(facts["retained_statistics"]),
        "Largest drift of a layer": f"{drift[worst]:.2g} ({worst})" if worst else "none",
        "Can be taken back": "yes, until it is sealed" if facts["undo_kept"] else "no",
        "Ledger entry before": facts["previous"],
        "Signed by": facts["signature"]["public_key"] if "signature" in facts else "nobody",
        "Warnings": " ".join(facts["warnings"]) or "none",
    }
    return list(found.items())
