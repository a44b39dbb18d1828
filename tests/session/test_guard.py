"""The guard of a session: what it holds, exactly, through several requests, and what becomes of older ones."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tiny_method import METHOD, UNASKED
from unsee import data
from unsee.errors import InputError
from unsee.methods import GradDiff, Method
from unsee.models.checkpoint import Vlm, visual_parameters
from unsee.moments.file import OLD, form_of, read_guarded
from unsee.moments.file import STATE as STATE_FORMAT
from unsee.moments.measure import prepare, retained_grams
from unsee.session.audit import verify
from unsee.session.creation import create
from unsee.session.ledger import STATE
from unsee.session.session import Session
from unsee.system.memory import plan
from unsee.system.tensors import opened, write
from unsee.testing import tiny_checkpoint

NORMAL = plan("normal", 1)


def grams_of(vlm: Vlm, people: Path, concept: str, layers: list[str]) -> dict[str, torch.Tensor]:
    photos = [sample for sample in data.load(people) if sample.concept == concept]
    found = retained_grams(vlm, prepare(vlm, photos, 8).inputs, layers, NORMAL)
    return {name: found[name].second for name in found}


def test_anchors_are_what_each_layer_gave_after_each_request(session: Path, people: Path) -> None:
    weights, sums = list[dict[str, torch.Tensor]](), list[dict[str, torch.Tensor]]()
    with Session(session) as opened_:
        state = opened_._state(opened_.base())
        for number, concept in enumerate(("concept_0", "concept_1")):
            if number:
                opened_.forget(people / concept, "second", **UNASKED)
            vlm = opened_.edited(opened_.base())
            sums.append(grams_of(vlm, people, concept, list(state.retained.grams)))
            parameters = visual_parameters(vlm.model, vlm.partition)
            weights.append({name: parameters[f"{name}.weight"].double() for name in state.retained.first})
        state = opened_._state(opened_.base())
    first, moved = state.retained.first, 0
    for name, anchor in state.anchors.items():
        outputs = sum(w[name] @ m[first[name]] for w, m in zip(weights, sums, strict=True))
        scale = float(anchor.outputs.abs().max())
        torch.testing.assert_close(anchor.outputs, outputs, rtol=1e-6, atol=1e-9 * scale)
        change = weights[1][name] - weights[0][name]
        leak = float(torch.trace(change @ sums[0][first[name]] @ change.T))
        assert anchor.shift(weights[1][name], state.guard[first[name]]) == pytest.approx(leak, rel=1e-4, abs=1e-12)
        moved += leak > 0
    assert moved


def test_a_layer_that_moves_first_in_a_later_request_is_anchored_where_it_was(once: Path) -> None:
    with Session(once) as session:
        state = session._state(session.base())
    name = next(iter(state.anchors))
    first = state.retained.first[name]
    before, gram = state.anchors[name], state.guard[first]
    old = torch.randn(before.outputs.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    fresh = type(state)(state.retained, state.guard, {})
    grams = {key: state.guard[key] for key in state.retained.grams}
    made = fresh.guarded(grams, {name: old}, {name: old + 1})
    assert list(made.anchors) == [name]
    mean = gram.weighted(1 / gram.count)
    torch.testing.assert_close(made.anchors[name].outputs, old @ gram.outer + (old + 1) @ mean.outer)


def aged(session: Path) -> None:
    """Writes the state as it was before there were anchors."""
    stored = opened(session / STATE, STATE_FORMAT)
    plain = stored.read(name for name in stored.sums if not name.startswith(("anchor", "states.", "counted")))
    facts = {name: value for name, value in stored.facts.items() if name not in ("anchors", "states")}
    write(session / STATE, plain, OLD, facts)


def test_an_older_state_is_converted_after_one_request_and_refused_after_more(session: Path, people: Path) -> None:
    now = Session(session)
    base = now.base()
    expected = dict(now._state(base).anchors)
    assert form_of(session / STATE) == STATE_FORMAT
    later = shutil.copytree(session, session.parent / "later")
    aged(session)
    assert read_guarded(session / STATE, base)[2] is None
    found = now._state(base).anchors
    assert set(found) <= set(expected)
    for name, anchor in found.items():
        torch.testing.assert_close(anchor.outputs, expected[name].outputs, rtol=1e-6, atol=1e-9)
    with Session(later) as two:
        two.forget(people / "concept_1", "second", **UNASKED)
        aged(later)
        with pytest.raises(InputError, match=r"state.safetensors is of an older version .* after each of 2 requests"):
            two._state(base)
        assert len(two.capacity()) > 1  # which needs none


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", [METHOD, GradDiff(steps=2, batch=2, tokens=2, rate=1e-5)])
def test_models_stored_in_half_precision_are_taken_by_every_method(
    dtype: torch.dtype, method: Method, known: Path, people: Path, tmp_path: Path
) -> None:
    model = tiny_checkpoint(tmp_path / "model")
    file = model / "model.safetensors"
    save_file({name: value.to(dtype) for name, value in load_file(file).items()}, file, metadata={"format": "pt"})
    create(tmp_path / "s", model, known, method=method)
    with Session(tmp_path / "s") as session:
        made = session.forget(people / "concept_0", "first", retain=known if method.language else None, **UNASKED)
        assert made["weights_after"] != made["weights_before"]
        assert {value.dtype for value in session.weights().values()} == {dtype}
    verify(tmp_path / "s")
