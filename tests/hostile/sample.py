"""A result.json of everything."""

from pathlib import Path

from unsee.records import Check, Result, Score, to_json


def result_file(folder: Path) -> Path:
    """Writes one into a folder, beside what is tried."""
    file = folder / "sample_result.json"
    made = Result(
        unsee="0.0",
        model={"name": "tiny", "family": "llava"},
        method={"name": "nscvf", "stopped": "at once"},
        seed=0,
        data={"benchmark": "personas", "split": "forget_10"},
        timings={"forget_s": 1.5},
        scores=[Score("recognition", "target", "after", 0.25, 8, (0.1, 0.4), higher_is_better=False)],
        checks=[Check("language_model_unchanged", True, "all 11 protected tensors are the same")],
        examples=[],
        environment={"python": "3.11"},
        layers=[],
        feature_map=[],
    )
    file.write_text(to_json(made), encoding="utf-8")
    return file
