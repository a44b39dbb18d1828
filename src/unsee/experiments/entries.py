"""The methods as they are compared: with the settings that a search found, and the variants of the ablation."""

from dataclasses import dataclass
from typing import Any

from unsee.errors import unknown
from unsee.methods import METHODS, NSCVF, ClosedForm, Method, find
from unsee.methods.nscvf import PRESETS


@dataclass(frozen=True)
class Entry:
    """A method as it is compared.

    Without `images` it has the moments of the retained photos and not the photos. `then` goes on where it ended, with
    the retained features of the model before both.
    """

    method: Method
    images: bool = True
    then: Method | None = None


# Found by scripts/search_methods.py; what is not here has its defaults. The tokenizer of personas knows no better
# refusal.
TUNED: dict[str, dict[str, Any]] = {
    "rmu": {"rate": 1e-3, "weight": 1.0, "steer": 1.0},
    "vkd": {"rate": 3e-3, "distill": 100.0},
    "mmunlearner": {"rate": 3e-4, "saliency": 1.0},
    "manu": {"share": 0.12},
    "siu": {"refusal": "nothing", "rate": 1e-3, "weight": 4.0},
    "fisher": {"rate": 1e-4, "fisher": 100.0},
    "grad_ascent": {"rate": 3e-4, "steps": 20},
    "grad_diff": {"rate": 3e-4, "weight": 4.0},
    "kl": {"rate": 3e-4, "weight": 4.0},
    "npo": {"rate": 3e-4, "weight": 4.0},
    "po": {"refusal": "nothing", "rate": 3e-4, "weight": 4.0},
    "dpo": {"refusal": "nothing", "rate": 3e-4, "weight": 4.0},
    "finetune": {"rate": 1e-3, "steps": 160},
}


def tuned(name: str, **more: Any) -> Method:
    """A method with the settings that the search found."""
    method: Method = METHODS[name](**TUNED.get(name, {}) | more)
    return method


ABLATION: dict[str, Entry] = {
    "nscvf_no_contrast": Entry(NSCVF(contrast=0.0)),
    "nscvf_no_null_space": Entry(NSCVF(null_space=False)),
    "nscvf_neither": Entry(NSCVF(contrast=0.0, null_space=False)),
    "nscvf_moments": Entry(NSCVF(), images=False),
    "nscvf_moments_unheld": Entry(NSCVF(hold=0.0, replay=0.0), images=False),
    "nscvf_moments_no_null_space": Entry(NSCVF(null_space=False), images=False),
    "nscvf_hardened": Entry(NSCVF(harden=1.0)),
    "nscvf_resistant": Entry(NSCVF(**PRESETS["resistant"])),
    "nscvf_concept": Entry(NSCVF(region="concept")),
    "nscvf_aside_0": Entry(NSCVF(aside=0)),
    "nscvf_nearest": Entry(NSCVF(region="nearest")),
    "nscvf_neighbours": Entry(NSCVF(region="neighbours")),
    "nscvf_mean": Entry(NSCVF(region="mean")),
    "nscvf_random": Entry(NSCVF(region="random")),
    "nscvf_energy": Entry(NSCVF(criterion="energy")),
    "nscvf_centred": Entry(NSCVF(criterion="centred")),
    "nscvf_rank": Entry(NSCVF(criterion="rank")),
    "nscvf_kaiser": Entry(NSCVF(criterion="kaiser")),
    "nscvf_adamw": Entry(NSCVF(optimizer="adamw")),
    "nscvf_projector": Entry(NSCVF(share=0.05)),
    "nscvf_all_layers": Entry(NSCVF(share=1.0)),
    "closed_form_steps": Entry(ClosedForm(sweeps=10), then=NSCVF(steps=100)),
    "nscvf_language": Entry(NSCVF(), then=tuned("grad_diff", scope="language")),
    "grad_diff_all": Entry(tuned("grad_diff", scope="all")),
    "npo_all": Entry(tuned("npo", scope="all")),
}
ENTRIES: dict[str, Entry] = {name: Entry(tuned(name)) for name in METHODS} | ABLATION


def entry(name: str) -> Entry:
    """What is compared under a name of ENTRIES, or any method as package.module:Class, with its defaults.

    Raises InputError where there is none.
    """
    if name in ENTRIES:
        return ENTRIES[name]
    if ":" not in name:
        raise unknown("method", name, ENTRIES)
    return Entry(find(name)())
