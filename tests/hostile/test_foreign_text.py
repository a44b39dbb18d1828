"""Names, texts and numbers from elsewhere: nothing is fetched by mistake, nothing is read as markup, damage is seen."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiny_method import TYPED
from unsee import benchmarks, data
from unsee.cli import bench
from unsee.errors import InputError
from unsee.experiments.cells import FAILED
from unsee.methods import NSCVF
from unsee.models.checkpoint import Vlm, load
from unsee.moments.file import read, save
from unsee.moments.measure import measure
from unsee.reporting.markdown import escaped
from unsee.system import hub
from unsee.system.memory import plan

Run = Callable[..., int]


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch, checkpoint: Path) -> list[str]:
    """What was looked up on the hub, which has the tiny checkpoint under every name."""
    names: list[str] = []

    def snapshot(name: str, **_: object) -> str:
        names.append(name)
        return str(checkpoint)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    return names


@pytest.mark.parametrize("name", ["checkpoints/my-vlm", "./checkpoints/my-vlm", "a/b/c", "/nowhere", "my-vlm"])
def test_a_mistyped_folder_is_not_looked_up_on_the_hub(
    name: str, fetched: list[str], unsee: Run, target: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = ("--target", target, "--retain", target, "--out", tmp_path / "out")
    for command in (
        ("inspect",),
        ("forget", "nscvf", *photos, *TYPED),
        ("moments", *photos[2:]),
        ("session", "init", tmp_path / "s", "--retain", target),
        ("evaluate", "--benchmark", "personas", "--out", tmp_path / "out"),
    ):
        assert unsee(*command, "--model", name) == 2
        assert f"{name} is not a folder; expected a checkpoint folder" in capsys.readouterr().err
    for dataset in ("clear", "fiubench"):
        with pytest.raises(InputError, match="is not a folder; expected the benchmark's folder"):
            benchmarks.load(dataset, name)
    assert not fetched


def test_the_hub_is_asked_where_the_user_says_so(fetched: list[str], unsee: Run) -> None:
    assert unsee("inspect", "--model", "hf://some/model") == 0
    assert unsee("inspect", "--model", "some/model", "--hub") == 0
    assert load("hf://some/model").model
    assert fetched == ["some/model"] * 3


HOSTILE = (
    "<script>alert(1)</script>",
    '<img src="https://example.org/x.png">',
    "![x](https://example.org/x.png)",
    "[click](javascript:alert(1))",
    "`code` *bold* ~~gone~~ | cell | https://example.org www.example.org",
    "first\n\n# second",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_in_markdown_is_text(text: str) -> None:
    line = escaped(text)
    assert "\n" not in line
    assert "<" not in line
    assert "://" not in line
    assert "www." not in line
    assert not re.search(r"(?<!\\)[\[\]`*|~]", line)


def test_a_table_of_methods_holds_no_markup_of_others(
    unsee: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of folders and what failures say, as a stranger or a method may put them there."""
    out = tmp_path / "bench"
    for text in ("![x](y)", "[click](javascript:alert(1))"):
        folder = out / f"method{text}" / f"split{text}_0"
        folder.mkdir(parents=True)
        (folder / FAILED).write_text("<script>alert(1)</script> <img src=x>\n")
    (out / "other" / "no-cell").mkdir(parents=True)
    (out / "other" / "no-cell" / FAILED).write_text("")
    (out / "bench.json").write_text(json.dumps({"benchmark": "personas", "thin": 1}))
    monkeypatch.setattr(bench, "run", lambda *_, **__: None)
    unsee("bench", "--methods", "nscvf", "--out", out)
    page = (out / "bench.md").read_text()
    assert "alert" in page
    assert "<" not in page
    links = re.findall(r"(?<!\\)\]\(([^)]*)\)", page)
    assert links
    assert all(re.fullmatch(r"[A-Za-z0-9_%.-]+\.svg", link) for link in links)


@pytest.fixture(scope="module")
def kept(vlm: Vlm, retained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("moments") / "moments.safetensors"
    save(measure(vlm, data.load(retained), NSCVF().moment_settings(0), plan("normal", 1))[0], file)
    return file


@settings(deadline=None, derandomize=True, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_a_flipped_bit_of_moments_is_seen(
    kept: Path, vlm: Vlm, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    content = bytearray(kept.read_bytes())
    start = 8 + struct.unpack("<Q", content[:8])[0]
    place = draw.draw(st.integers(start, len(content) - 1))
    content[place] ^= 1 << draw.draw(st.integers(0, 7))
    file = kept.with_name("flipped.safetensors")
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged: .* is not what was written"):
        list(read(file, vlm).grams.values())


def test_changed_facts_of_moments_are_seen(kept: Path, vlm: Vlm) -> None:
    content = kept.read_bytes()
    file = kept.with_name("facts.safetensors")
    digest = load(vlm.folder) and read(kept, vlm).hashes[0].encode()
    file.write_bytes(content.replace(digest, digest[::-1]))
    with pytest.raises(InputError, match="its facts were changed"):
        read(file, vlm)


@settings(deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_a_flipped_number_of_a_training_state_is_seen(
    tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    from unsee.forgetting.confined import ConfinedWeight
    from unsee.forgetting.training import Bars, Schedule, train

    folder = tmp_path_factory.mktemp("state")
    state = folder / "state.pt"

    def run() -> None:
        weights = {"w": ConfinedWeight(torch.nn.Parameter(torch.ones(3, 4)), None)}
        train(
            weights, lambda _: [weights["w"].weight.square().sum()], lambda: {"loss": 1.0},
            Bars({"loss": 0.0}), Schedule(2, 1e-2, 0.0, 1), seed=0, state=state,
        )  # fmt: skip

    run()
    saved = torch.load(state, weights_only=True)
    tensors = [
        saved["weights"]["w"],
        *(saved["optimizers"]["w"]["state"][0][part] for part in ("exp_avg", "exp_avg_sq")),
    ]
    chosen = draw.draw(st.sampled_from(tensors)).view(-1).view(torch.uint8)
    chosen[draw.draw(st.integers(0, len(chosen) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    torch.save(saved, state)
    with pytest.raises(InputError, match="it is not what was written"):
        run()


def test_the_record_says_with_how_many_threads(
    unsee: Run, checkpoint: Path, target: Path, retained: Path, tmp_path: Path
) -> None:
    """One thread and two give other last bits."""
    command = ("forget", "nscvf", "--model", checkpoint, "--target", target, "--retain", retained)
    assert unsee(*command, *TYPED, "--ask", "never", "--out", tmp_path / "out") == 0
    record = json.loads((tmp_path / "out" / "unsee.json").read_text())
    assert record["environment"]["threads"] == torch.get_num_threads()
