"""Models that answer with no numbers, settings that nobody expects, records with numbers that none has, odd names."""

import json
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from ground import Ground
from safetensors.torch import load_file, save_file
from sample import result_file

from unsee.errors import InputError
from unsee.evaluation.asking import answer_probabilities, generate
from unsee.models.checkpoint import load
from unsee.records import Sample, from_json
from unsee.testing import images


def asked(folder: Path) -> list[str]:
    vlm = load(folder, language=True)
    samples = [Sample(picture, "c", "Who is this?", "a person") for picture in images(2)]
    assert all(0 <= value <= 1 for value in answer_probabilities(vlm, samples))
    return generate(vlm, samples)


def test_weights_with_which_no_answer_is_a_number_fail(ground: Ground) -> None:
    """They are finite, and what comes of them is not."""
    file = ground.copy() / "model.safetensors"
    weights = {name: value.clone() for name, value in load_file(file).items()}
    name = next(name for name in weights if name.endswith("norm.weight") and "layers" not in name)
    weights[name] = torch.full_like(weights[name], 3e38)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match="answers with numbers that are none"):
        asked(ground.model)


@pytest.mark.parametrize(
    "settings",
    [
        {"return_dict_in_generate": True},
        {"num_beams": 4, "num_return_sequences": 2},
        {"do_sample": True, "top_k": 3},
        {"guidance_scale": 1.5},
        {"watermarking_config": {"bias": 5.0, "greenlist_ratio": 0.25}},
        {"stop_strings": ["a"]},
        {"prompt_lookup_num_tokens": 3},
        {"penalty_alpha": 0.6, "top_k": 4},
        {"dola_layers": "high"},
        {"min_new_tokens": 6, "no_repeat_ngram_size": 2, "bad_words_ids": [[5]]},
        {"sequence_bias": [[[64], -100.0]]},
        {"begin_suppress_tokens": [5, 6, 7]},
        {"encoder_repetition_penalty": 3.0, "exponential_decay_length_penalty": [1, 2.0], "max_time": 0.001},
        {"repetition_penalty": 3.0, "suppress_tokens": [5, 6]},
        {"cache_implementation": "static", "max_length": 20},
    ],
)
def test_a_models_own_settings_for_generation_change_no_answer(settings: dict[str, Any], ground: Ground) -> None:
    expected = asked(ground.copy())
    file = ground.model / "generation_config.json"
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(found | settings), encoding="utf-8")
    assert asked(ground.model) == expected


def test_a_tokenizer_without_a_token_for_padding_is_asked_all_the_same(ground: Ground) -> None:
    expected = asked(ground.copy())
    file = ground.model / "tokenizer_config.json"
    found = json.loads(file.read_text(encoding="utf-8"))
    found.pop("pad_token")
    file.write_text(json.dumps(found), encoding="utf-8")
    assert asked(ground.model) == expected


@pytest.mark.parametrize(
    "place", [("scores", 0, "value"), ("scores", 0, "ci95", 0), ("seed",), ("timings", "forget_s")]
)
def test_a_number_that_no_record_has_is_none(place: tuple[Any, ...], tmp_path: Path) -> None:
    record = json.loads(result_file(tmp_path).read_text(encoding="utf-8"))
    inner = record
    for part in place[:-1]:
        inner = inner[part]
    inner[place[-1]] = 10**400
    with pytest.raises(InputError, match="is no number that unsee writes"):
        from_json(json.dumps(record))


def test_counts_of_a_verdict_are_all_there(tmp_path: Path) -> None:
    record = json.loads(result_file(tmp_path).read_text(encoding="utf-8"))
    record["verdict"] = {"passed": True, "question": "Who?", "counts": {}, "missed": [], "notes": [], "sentence": ""}
    with pytest.raises(InputError, match="verdict/counts is wrong"):
        from_json(json.dumps(record))


def test_nobody_hears_what_is_said_to_a_full_disk_and_the_work_is_done(ground: Ground) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no full device")
    full = Path("/dev/full").open("w")  # noqa: SIM115 # closing it fails too
    with redirect_stderr(full):
        code = ground.run("moments", "--model", ground.model, "--retain", ground.retained, "--out", ground.out)
    with suppress(OSError):
        full.close()
    assert code == 0
    assert ground.out.is_file()


def test_a_log_that_is_full_is_said_once(ground: Ground) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no full device")
    code = ground.run("moments", "--model", ground.model, "--retain", ground.retained, "--out", ground.out,
                      "--log-file", "/dev/full")  # fmt: skip
    assert code == 0
    said = ground.said.readouterr().err
    assert said.count("/dev/full cannot be written any more") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "text", ['{"max_new_tokens": 0}', "[1]", '{"cache_implementation": "nope"}', "no JSON", '{"a":' * 3000]
)
def test_settings_for_generation_that_are_none_are_named(text: str, ground: Ground) -> None:
    (ground.copy() / "generation_config.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"generation_config\.json cannot be used .*correct it, or take it out"):
        load(ground.model, language=True)
