"""`unsee ls`: what there is."""

import json
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from unsee.cli.parse import parse
from unsee.cli.table import print_table
from unsee.cli.telling import out_json
from unsee.models.families import FAMILIES

# Listed here and not read from the rooms, because most of those import torch; a test compares them.
THINGS: dict[str, list[tuple[str, str]]] = {
    "methods": [
        ("nscvf", "contrastive visual forgetting inside the null space of what is retained"),
        ("closed_form", "every layer's change solved for by least squares, from moments alone, in seconds"),
        ("streaming", "as nscvf, without retained photos or moments: both are estimated from the target's photos"),
        ("rmu", "baseline: the target's features towards a random direction, retained ones as before"),
        (
            "vkd",
            "baseline: as grad_diff, retained features as before at every depth; runs the language model, as all below",
        ),
        (
            "mmunlearner",
            "baseline: as grad_diff, of the weights that matter more to the target than to retained photos",
        ),
        ("manu", "baseline: prunes the neurons that matter more to the target than to retained photos"),
        ("siu", "baseline: a refusal about one photo of each concept, held by a masked divergence"),
        ("fisher", "baseline: up the loss of the target's answers, in the encoder alone, held by Fisher information"),
        ("grad_ascent", "baseline: up the loss of the target's answers"),
        ("grad_diff", "baseline: up the loss of the target's answers, down that of retained ones"),
        ("kl", "baseline: up the loss of the target's answers, retained answers as likely as before"),
        ("npo", "baseline: negative preference optimisation, with retained answers"),
        ("po", "baseline: a refusal in the place of the target's answers, with retained answers"),
        ("dpo", "baseline: direct preference optimisation of a refusal, with retained answers"),
        ("finetune", "baseline: down the loss of retained answers and nothing else"),
    ],
    "families": [
        (name, " · ".join(part for part in (family.status, family.title, family.refused or family.note) if part))
        for name, family in FAMILIES.items()
    ],
    "benchmarks": [
        (
            "personas",
            "270 fictitious people, embedded; forget_10, reported, others without oracle; Apache-2.0",
        ),
        (
            "mllmu",
            "MLLMU-Bench, 500 fictitious people and 153 real; forget_05, forget_10, forget_15; licence not stated; "
            "hub MLLMMU/MLLMU-Bench",
        ),
        (
            "clear",
            "CLEAR, 200 fictitious authors, 3768 images; forget_01, forget_05, forget_10; licence not stated; "
            "hub therem/CLEAR",
        ),
        (
            "umu",
            "UMU-Bench, 500 fictitious people and 153 real; forget_05, forget_10, forget_15; licence not stated; "
            "hub linbojunzi/UMU-bench",
        ),
        (
            "fiubench",
            "FIUBench, 400 fictitious faces with 20 questions each; forget_01, forget_05, forget_10; Apache-2.0; "
            "hub gray311/FIUBench",
        ),
        (
            "mlubench",
            "MLUBench, 127 real things in four tasks; task_a to task_d; licence not stated; a folder, see its paper",
        ),
        (
            "pebench",
            "PEBench, 200 fictitious people in some 40 scenes each; forget_05, forget_10, forget_15 (drawn by unsee); "
            "Apache-2.0; hub xuzhaopan/PEBench",
        ),
    ],
    "attacks": [
        ("relearn", "tuning on 1 to 20 % of the target's photos, the visual part or everything"),
        ("projector_reload", "the projector of the model before"),
        ("encoder_reload", "blocks of the encoder of the model before, one by one and from each on"),
        ("quantize", "weights rounded to 8 and 4 bits"),
        ("paraphrase", "the same questions in other words, leading, with examples, with the first letter"),
        ("perturb", "the same photos cropped, mirrored, recoloured, noisy, posterised"),
        ("adversarial", "pixels moved by at most 2 and 8 of 255 towards the right answer"),
        ("probe", "linear and nearest-neighbour probes on the features of every depth"),
        ("membership", "whether the request's photos show as training data"),
    ],
    "metrics": [
        ("recognition", "share of who, job and city questions about a photo answered right"),
        ("scene", "share of background, glasses and expression questions answered right"),
        ("appearance", "share of hair colour and headgear questions answered right"),
        ("text", "share of job and city questions by name alone answered right"),
        ("balance", "harmonic mean of what was forgotten and what was kept"),
        ("oracle_gap", "mean difference to a model that never saw the target"),
        ("forget_quality", "how alike the confidence in the target's answers is to the oracle's: KS and 1 - JS"),
        ("c_dis", "how much less likely the target's answers became, in nats"),
        ("classification", "share of multiple choice answered right; options shuffled, chance 1 of their number"),
        ("cloze", "share of answers that contain the right words"),
        ("keywords", "share of keywords in an answer"),
        ("generation", "ROUGE-L of a sentence; _rouge1, _rouge2 and _bleu beside it"),
        ("..._text", "the same questions' like without an image"),
        ("..._probability", "probability of the right answer by its length, or among wrong ones"),
        ("..._truth_ratio", "wrong answers' probability by the right one's, as TOFU sums it up"),
        ("..._all_modal, ..._all_modal_error", "facts answered right, or wrong, both with an image and without"),
        ("..._rlf, ..._rlr", "ROUGE-L with an image and without together, near the larger and the smaller"),
        ("..._fluency", "entropy of the sequences of words in an answer, in bits"),
        ("..._judged", "grade of a judge, a model of yours, for answers in own words"),
        ("utility", "harmonic mean of what a benchmark wants to be kept"),
        ("lmms_...", "tasks of lmms-eval"),
        ("attacked, recovery, control, excess", "what attacks got, see unsee ls attacks"),
    ],
}


@dataclass(frozen=True)
class Options:
    """List what there is.

    Example:
      unsee ls methods
    """

    what: Annotated[Literal["methods", "families", "benchmarks", "metrics", "attacks"], tyro.conf.Positional]
    """Which kind of thing."""
    json: bool = False
    """Print JSON."""


def main(args: list[str]) -> int:
    """Prints one list."""
    options = parse(Options, args, "unsee ls")
    rows = [{"name": name, "what": text} for name, text in THINGS[options.what]]
    if options.json:
        out_json(json.dumps(rows, indent=1))
    else:
        print_table(rows)
    return 0
