"""Attacks that try to bring the target back, by name."""

from unsee.attacks.adversarial import Adversarial
from unsee.attacks.attack import Attack, Point, Subject
from unsee.attacks.membership import Membership
from unsee.attacks.paraphrase import Paraphrase
from unsee.attacks.perturb import Perturb
from unsee.attacks.probe import Probe
from unsee.attacks.quantize import Quantize
from unsee.attacks.relearn import Relearn
from unsee.attacks.reload import EncoderReload, ProjectorReload

__all__ = ["ATTACKS", "Attack", "Point", "Subject"]

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Relearn(),
        ProjectorReload(),
        EncoderReload(),
        Quantize(),
        Paraphrase(),
        Perturb(),
        Adversarial(),
        Probe(),
        Membership(),
    )
}
