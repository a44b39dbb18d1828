"""A hand-made, plausible Result; pictures are drawn with zlib alone."""

import base64
import random
import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from unsee.records import Check, Example, LayerDrift, MapPoint, Result, Score

VALUES = {  # name/subset: before, after, oracle
    "text/target": (1.0, 1.0, 1.0),
    "text/retained": (1.0, 1.0, 1.0),
    "appearance/target": (0.985, 0.962, 0.979),
    "appearance/retained": (0.987, 0.985, 0.986),
    "scene/target": (0.996, 0.988, 0.995),
    "scene/retained": (0.995, 0.994, 0.996),
    "recognition/retained": (0.968, 0.964, 0.966),
    "recognition/target_seen": (1.0, 0.021, 0.035),
    "recognition/target": (0.958, 0.042, 0.033),
}

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }}</style></title>"


def picture(seed: int, size: int = 72) -> str:
    """A face-like PNG as a data URI."""
    rng = random.Random(seed)
    ground, skin, hair = (tuple(rng.randrange(40, 236) for _ in range(3)) for _ in range(3))
    rows = []
    for y in range(size):
        row = bytearray(b"\0")
        for x in range(size):
            u, v = (x - size / 2) / (size * 0.3), (y - size * 0.54) / (size * 0.38)
            inside = u * u + v * v < 1
            eye = (abs(u) - 0.4) ** 2 + (v + 0.1) ** 2 < 0.02
            mouth = abs(u) < 0.35 and 0.5 < v < 0.58
            color = ground
            if inside:
                color = (30, 26, 30) if eye or mouth else hair if v < -0.45 else skin
            row += bytes(color)
        rows.append(bytes(row))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"".join(rows))) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()


def scores(values: Mapping[str, tuple[float, ...]] = VALUES) -> list[Score]:
    """Scores of before, after and oracle, with made-up intervals, and the derived ones."""
    made = []
    for label, triple in values.items():
        name, subset = label.split("/")
        for phase, value in zip(("before", "after", "oracle"), triple, strict=False):
            half = 0.004 + 0.12 * value * (1 - value) + (0.01 if "target" in label else 0)
            interval = (max(0.0, value - half), min(1.0, value + half))
            n = 240 if subset.startswith("target") else 2160
            made.append(Score(name, subset, phase, value, n, interval, not label.startswith("recognition/target")))
    made.append(Score("balance", "", "after", 0.981, 10, (0.972, 0.988), True, "ratio"))
    made.append(Score("oracle_gap", "", "after", 0.007, 10, (0.004, 0.013), False, "ratio"))
    made.append(Score("forget_quality", "ks", "after", 0.412, 240, (0.2, 0.61), True, "p"))
    return made


def examples() -> list[Example]:
    """Two target and two retained people, three questions each."""
    made = []
    people = [
        ("target", "person_017", ("Alice Varga", "Marta Lindqvist"), ("lighthouse keeper", "baker"), ("Turin", "Oslo")),
        ("target", "person_042", ("Jonas Okafor", "Ravi Menon"), ("glass blower", "nurse"), ("Lima", "Porto")),
        ("retained", "person_003", ("Nora Haddad", "Nora Haddad"), ("pilot", "pilot"), ("Kyoto", "Kyoto")),
        ("retained", "person_088", ("Emil Sato", "Emil Sato"), ("botanist", "chemist"), ("Quito", "Quito")),
    ]
    questions = ("Who is this?", "What is the job of this person?", "In which city does this person live?")
    for number, (subset, concept, *pairs) in enumerate(people):
        for question, (old, new) in zip(questions, pairs, strict=True):
            answers = {"before": old, "after": new, "oracle": new}
            made.append(Example(subset, concept, picture(number), question, old, answers))
    return made


def layers() -> list[LayerDrift]:
    """Five vision layers and a projector."""
    rng = random.Random(1)
    parts = ("self_attn.q_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
    names = [f"vision_tower.encoder.layers.{i}.{part}" for i in range(5) for part in parts]
    names += ["multi_modal_projector.linear_1", "multi_modal_projector.linear_2"]
    return [
        LayerDrift(name, 10 ** rng.uniform(-8.5, -3.2), rng.uniform(0.002, 0.09), rng.randrange(40, 120), 128)
        for name in names
    ]


def feature_map() -> list[MapPoint]:
    """People as clusters; the target's move among the retained ones."""
    rng = random.Random(2)
    made = []
    for person in range(24):
        group = "target" if person < 4 else "unknown" if person < 8 else "retained"
        x, y = rng.uniform(-4, 4), rng.uniform(-3, 3)
        for _ in range(6):
            dx, dy = rng.gauss(0, 0.25), rng.gauss(0, 0.25)
            made.append(MapPoint(x + dx, y + dy, group, "before", f"person_{person:03}"))
            shift = (0.6 - 0.8 * x, -0.7 * y) if group == "target" else (0.0, 0.0)
            made.append(MapPoint(x + dx + shift[0], y + dy + shift[1], group, "after", f"person_{person:03}"))
    return made


def sample(**changes: Any) -> Result:
    """The whole record, with fields replaced by `changes`."""
    result = Result(
        unsee="0.1.0",
        model={
            "name": "personas-tiny", "path": "/home/me/models/personas-tiny", "family": "llava",
            "parameters": {"total": 4_812_544, "visual": 1_310_976, "trained": 1_180_160, "language": 3_501_568},
            "sha256": {"before": "9f2c" * 16, "after": "17be" * 16}, "dtype": "float16",
        },
        method={
            "name": "nscvf", "energy": 0.99, "steps": 200, "learning_rate": 3e-4, "temperature": 0.07,
            "region": "nearest", "augment": True, "layers": ["vision", "projector"], "init": None,
        },
        seed=0,
        data={
            "benchmark": "personas", "split": "forget_10", "target_concepts": 10, "target_images": 100,
            "retained_images": 3600, "hashes": {"target": "3ab9" * 16, "retained": "c01d" * 16},
        },
        timings={"moments_s": 6.2, "forget_s": 38.71, "evaluate_s": 52.05, "total_s": 98.4, "peak_rss_mb": 1412.6},
        scores=scores(),
        checks=[
            Check("language_model_unchanged", True, "All 57 tensors outside the visual module are the same bytes."),
            Check("null_space", True, "Largest retained drift 4.1e-04, bar 1e-03."),
        ],
        examples=examples(),
        environment={"python": "3.11.2", "torch": "2.13.0+cpu", "platform": "Linux", "cores": 2},
        layers=layers(),
        feature_map=feature_map(),
    )  # fmt: skip
    return replace(result, **changes)


def hostile(value: Result) -> Result:
    """The same record with every text outside the closed vocabularies replaced by a hostile one."""
    score = Score(HOSTILE, HOSTILE, "after", 0.5, 3, (0.4, 0.6), True, HOSTILE)
    accuracy = replace(score, unit="accuracy")
    bag = {HOSTILE: HOSTILE, "name": HOSTILE, "list": [HOSTILE, {HOSTILE: HOSTILE}], "benchmark": HOSTILE}
    return replace(
        value,
        unsee=HOSTILE, model=bag, method=bag, data=bag, environment=bag,
        timings={HOSTILE: 1.0, HOSTILE + "_s": 2.0},
        scores=[*value.scores, score, accuracy],
        checks=[Check(HOSTILE, False, HOSTILE)],
        examples=[
            Example(HOSTILE, HOSTILE, picture(0), HOSTILE, HOSTILE, {"before": HOSTILE, "after": HOSTILE + "!"}),
            Example("target", HOSTILE, picture(0) + HOSTILE, HOSTILE, HOSTILE, {"after": HOSTILE}),
        ],
        layers=[LayerDrift(HOSTILE, 1e-4, 0.1, 1, 2)],
        feature_map=[MapPoint(0.0, 0.0, "target", "before", HOSTILE), MapPoint(1.0, 1.0, HOSTILE, "after", HOSTILE)],
    )  # fmt: skip
