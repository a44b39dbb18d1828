"""Attacks: what each does to a model in memory, that the checkpoint stays as it is, and what is counted."""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unsee.attacks import ATTACKS, Point, Subject
from unsee.attacks.adversarial import Adversarial
from unsee.attacks.attack import tally
from unsee.attacks.probe import Probe
from unsee.attacks.quantize import rounded_to
from unsee.attacks.relearn import Relearn
from unsee.attacks.reload import EncoderReload, ProjectorReload
from unsee.benchmarks import personas
from unsee.benchmarks.benchmark import Benchmark
from unsee.data import open_image
from unsee.errors import InputError
from unsee.experiments import recovery
from unsee.models.answers import answer_losses
from unsee.models.checkpoint import Vlm, load, write
from unsee.models.inputs import chat_inputs
from unsee.records import Sample

BASE, ORACLE = personas.CHECKPOINTS / "base", personas.CHECKPOINTS / "retain_10"


@pytest.fixture(scope="module")
def bench() -> Benchmark:
    return personas.load("forget_10")


@pytest.fixture(scope="module")
def oracle(bench: Benchmark) -> Subject:
    whole = recovery.subject(ORACLE, BASE, bench, photos=1, seed=0)
    return replace(whole, shown=whole.shown[::2])


def digest(folder: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.glob("*.safetensors")))).hexdigest()


def of(point: Point) -> float:
    return sum(got for got, _ in point.got.values()) / sum(count for _, count in point.got.values())


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_leave_the_checkpoint_alone_and_give_shares_of_the_same_people(name: str, oracle: Subject) -> None:
    before = digest(ORACLE)
    attack = Relearn(shares=(0.05,), scopes=("visual",), steps=2) if name == "relearn" else ATTACKS[name]
    points = list(attack.run(oracle))
    assert digest(ORACLE) == before
    assert points
    assert len({point.budget for point in points}) == len(points)
    people = {sample.concept for sample in oracle.asked}
    for point in points:
        assert point.got.keys() == point.floor.keys() == people
        assert all(0 <= got <= count for got, count in [*point.got.values(), *point.floor.values()])


def test_the_target_is_asked_about_on_photos_that_no_attack_learns_from(oracle: Subject, bench: Benchmark) -> None:
    pixels = {open_image(sample).tobytes() for sample in oracle.shown}
    assert pixels <= {open_image(sample).tobytes() for sample in bench.target}
    assert pixels.isdisjoint(open_image(sample).tobytes() for sample in oracle.asked)
    assert {sample.score for sample in oracle.asked} == {"recognition"}


def test_relearning_teaches_what_it_is_shown_and_the_same_each_time(oracle: Subject) -> None:
    seen = replace(oracle, asked=oracle.shown[:6], shown=oracle.shown[:6])
    attack = Relearn(shares=(1.0,), scopes=("visual",), steps=25)
    (first,), (again,) = attack.run(seen), attack.run(seen)
    assert first == again
    assert of(first) > sum(got for got, _ in first.floor.values()) / 6 + 0.3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_relearning_trains_in_float32_what_is_held_in_half_precision(
    dtype: torch.dtype, oracle: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float16 Adam's epsilon is 0, and a step would leave infinities."""
    vlm = oracle.open()
    vlm.model.to(dtype)
    first = {name: value.detach().clone() for name, value in vlm.model.named_parameters()}
    monkeypatch.setattr(Subject, "open", lambda _: vlm)
    monkeypatch.setattr("unsee.attacks.relearn.right", lambda *_: {})
    list(Relearn(shares=(1.0,), scopes=("visual",), steps=2).run(replace(oracle, shown=oracle.shown[:2])))
    changed = {name for name, value in vlm.model.named_parameters() if not torch.equal(value, first[name])}
    assert changed
    assert changed <= set(vlm.partition.visual)
    assert all(value.dtype == dtype and value.isfinite().all() for value in vlm.model.parameters())


def moved(folder: Path, names: str) -> Path:
    """The model before with noise in every visual weight whose name holds `names`."""
    vlm = load(BASE)
    generator = torch.Generator().manual_seed(0)
    changed = {}
    for name in vlm.partition.visual:
        value = vlm.model.get_parameter(name).detach()
        if names in name and value.dim() == 2:
            noise = torch.randn(value.shape, generator=generator)
            changed[name] = (value + 2 * value.std() * noise).to(vlm.dtype_of(name))
    folder.mkdir()
    write(vlm, changed, folder)
    return folder


def test_a_projector_put_back_undoes_what_was_done_to_the_projector_alone(tmp_path: Path, bench: Benchmark) -> None:
    one = recovery.subject(moved(tmp_path / "m", "projector"), BASE, bench, photos=1, seed=0)
    (point,) = ProjectorReload().run(one)
    assert point.got == replace(one, folder=BASE).plain
    assert of(point) > 0.7 > 0.5 > sum(got for got, _ in point.floor.values()) / len(one.asked)


def test_blocks_are_put_back_one_by_one_and_never_all_that_differs(tmp_path: Path, bench: Benchmark) -> None:
    one = recovery.subject(moved(tmp_path / "m", "layers.3."), BASE, bench, photos=1, seed=0)
    points = {point.budget: of(point) for point in EncoderReload().run(one)}
    assert points["block 3"] > 0.7
    assert max(value for name, value in points.items() if name != "block 3") < 0.5
    assert "from block 4 on" in points
    assert "from block 3 on" not in points


@pytest.mark.parametrize("bits", [8, 4])
def test_rounded_weights_are_near_in_few_steps_and_stay_where_they_are(bits: int) -> None:
    weight = torch.randn(6, 50, generator=torch.Generator().manual_seed(bits))
    made = rounded_to(weight, bits)
    for part, own in zip(weight.split(32, 1), made.split(32, 1), strict=True):
        step = part.abs().amax(1) / (2 ** (bits - 1) - 1)
        assert ((part - own).abs() <= step[:, None] / 2 * 1.0001).all()
        assert all(len(row.unique()) <= 2**bits - 1 for row in own)
    assert torch.allclose(rounded_to(made, bits), made)
    assert rounded_to(torch.zeros(2, 3), bits).eq(0).all()


def test_adversarial_pixels_stay_within_eps_and_make_the_answer_likelier(oracle: Subject) -> None:
    vlm, asked = oracle.open(), oracle.asked[:6]
    questions, answers = [(open_image(s), s.question) for s in asked], [s.answer for s in asked]
    pixels = chat_inputs(vlm, questions)["pixel_values"]
    pushed = Adversarial()._descend(vlm, asked, questions, pixels, 0.1)
    assert 0 < (pushed - pixels).abs().max() <= 0.1 + 1e-6
    assert pixels.min() <= pushed.min()
    assert pushed.max() <= pixels.max()
    losses, _ = answer_losses(vlm, questions, answers)
    then, _ = answer_losses(vlm, questions, answers, {"pixel_values": pushed})
    assert (then < losses).all()


def test_a_probe_reads_from_the_model_before_whom_it_knows(bench: Benchmark) -> None:
    one = recovery.subject(BASE, BASE, bench, photos=2, seed=0)
    points = {point.budget: of(point) for point in Probe().run(one)}
    assert points["features, linear"] > 0.4  # chance: a tenth
    with pytest.raises(InputError, match="there is one; leave probe out"):
        list(Probe().run(replace(one, shown=tuple(s for s in one.shown if s.concept == one.shown[0].concept))))


def test_recovery_is_beside_control_person_by_person() -> None:
    half, none, quarter = ({"a": (n, 4.0), "b": (n, 4.0)} for n in (2.0, 0.0, 1.0))
    after = recovery.Attacked({"relearn": [Point("5%", half, none)]}, {})
    oracle = recovery.Attacked({"relearn": [Point("5%", quarter, none)]}, {"probe": "there is one"})
    found = {(s.name, s.phase): s for s in recovery.scores(after, oracle, None)}
    values = {name: score.value for name, score in found.items()}
    assert values == {
        ("attacked.relearn", "after"): 0.5,
        ("attacked.relearn", "oracle"): 0.25,
        ("recovery.relearn", "after"): 0.5,
        ("control.relearn", "oracle"): 0.25,
        ("excess.relearn", "after"): 0.25,
    }
    assert found["excess.relearn", "after"].ci95 == (0.25, 0.25)
    assert not recovery.checks(after)
    assert [(check.name, check.passed) for check in recovery.checks(oracle)] == [("attack.probe", False)]


def test_intervals_draw_the_same_people_for_both_models() -> None:
    """What differs between people alone, and not between the models, is no uncertainty of their difference."""
    got = {"a": (0.0, 4.0), "b": (4.0, 4.0), "c": (2.0, 4.0)}
    none = tally("abc", [0.0] * 3)
    one = recovery.Attacked({"perturb": [Point("crop", got, none)]}, {})
    found = {s.name: s for s in recovery.scores(one, one, None) if s.phase == "after"}
    assert found["recovery.perturb"].ci95[1] > found["recovery.perturb"].ci95[0]
    assert found["excess.perturb"].ci95 == (0.0, 0.0)


def test_attacks_need_questions_about_photos_of_the_target(bench: Benchmark) -> None:
    with pytest.raises(InputError, match="nothing to bring back"):
        recovery.subject(BASE, BASE, replace(bench, questions=[]), photos=1, seed=0)
    bare = replace(bench, target=[], questions=[q for q in bench.questions if q.subset == "target"])
    one = recovery.subject(BASE, BASE, bare, photos=1, seed=0)
    made = recovery.attack(one, [ATTACKS["relearn"], ATTACKS["projector_reload"]], "after")
    assert "leave it out with --attacks" in made.refused["relearn"]
    assert made.points.keys() == {"projector_reload"}
    assert not recovery.attack(one, [ATTACKS["projector_reload"]], "before").points


def test_questions_about_one_file_are_about_one_photo(bench: Benchmark, tmp_path: Path) -> None:
    """Rows of a table each have a path of their own."""
    target = [question for question in bench.questions if question.subset == "target" and question.image is not None]
    photos = list({question.picture: question for question in target}.values())
    rows = list[Sample]()
    for place, photo in enumerate(photos[:6]):
        open_image(photo).save(tmp_path / f"{place}.png")
        rows += [replace(photo, concept="one", image=tmp_path / f"{place}.png") for _ in range(3)]
    asked = recovery.subject(BASE, BASE, replace(bench, questions=rows), photos=4, seed=0).asked
    assert len(asked) == 12
    assert len({question.image for question in asked}) == 4


def test_an_attack_that_memory_does_not_suffice_for_costs_no_other(
    oracle: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Adversarial, "run", full)
    made = recovery.attack(oracle, [Adversarial(), ATTACKS["quantize"]], "oracle")
    assert list(made.points) == ["quantize"]
    assert "too little memory" in made.refused["adversarial"]


@pytest.mark.parametrize("attack", ["adversarial", "membership"])
def test_where_memory_is_full_an_attack_takes_fewer_questions_at_a_time(
    attack: str, oracle: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[type(ATTACKS[attack]).__module__]
    name = "answer_losses" if attack == "adversarial" else "answer_log_probabilities"
    real, sizes = getattr(module, name), list[int]()

    def scarce(vlm: Vlm, questions: list[object], *more: object) -> object:
        sizes.append(len(questions))
        if len(questions) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(vlm, questions, *more)

    one = replace(oracle, asked=oracle.asked[:12], shown=oracle.shown[:12])
    whole = list(ATTACKS[attack].run(one))
    monkeypatch.setattr(module, name, scarce)
    halved = list(ATTACKS[attack].run(one))
    assert max(sizes) > 8 >= sizes[-1]
    assert [point.budget for point in halved] == [point.budget for point in whole]
    assert [point.got.keys() for point in halved] == [point.got.keys() for point in whole]
