"""The hook for lmms-eval: what its interface gives and takes, by a package with that interface where it is missing."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unsee.cli.main import main
from unsee.errors import InputError
from unsee.evaluation.lmms import ability
from unsee.models.answers import say
from unsee.models.checkpoint import load
from unsee.testing import images, tiny_checkpoint

HARNESS = {
    "__init__": "",
    "api/__init__": "",
    "api/model": """
class lmms:
    is_simple = True
    def __init__(self): self.task_dict = {}
""",
    "tasks": """
class TaskManager:
    def __init__(self, verbosity, include_path=None): self.include_path = include_path
""",
    "evaluator": """
from types import SimpleNamespace
from PIL import Image
ASKED = []
def simple_evaluate(model, tasks, task_manager, batch_size, limit, log_samples):
    print("harness talks on stdout")
    docs = [{"image": Image.new("RGB", (24, 24), (90 * n, 20, 60)), "answer": "a"} for n in range(3)][:limit]
    (task,) = tasks
    if task not in ("mine", "two", "likely"): raise KeyError(task)
    model.task_dict = {task: {"test": docs}}
    pictures = lambda doc: [doc["image"]] * (2 if task == "two" else 1)
    if task == "likely":
        requests = [SimpleNamespace(args=("Who?", lambda doc: doc["answer"], pictures, n, task, "test"))
                    for n in range(len(docs))]
        said = model.loglikelihood(requests)
        assert all(value < 0 and isinstance(greedy, bool) for value, greedy in said)
    else:
        gen = {"max_new_tokens": 4, "until": ["\\n"]}
        requests = [SimpleNamespace(args=("<image>Who?", gen, pictures if n else None, n, task, "test"))
                    for n in range(len(docs))]
        said = model.generate_until(requests)
    ASKED.append(said)
    return {"results": {task: {"alias": task, "acc,none": 0.5, "acc_stderr,none": 0.1, "odd,none": "N/A"}},
            "n-samples": {task: {"original": 3, "effective": len(docs)}},
            "higher_is_better": {task: {"acc": True}}}
""",
}


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, text in HARNESS.items():
        file = tmp_path / "site" / "lmms_eval" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    known = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "lmms_eval"}
    for name in known:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "lmms_eval"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("model"))


@pytest.mark.usefixtures("harness")
def test_a_task_is_asked_through_the_checkpoint_and_its_numbers_are_scores(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (score,) = ability(model, ["mine"], "after", limit=2)
    assert (score.name, score.subset, score.phase, score.value, score.n) == ("lmms_mine", "acc", "after", 0.5, 2)
    assert score.ci95 == pytest.approx((0.5 - 0.196, 0.5 + 0.196))
    assert capsys.readouterr().out == ""
    from lmms_eval.evaluator import ASKED  # type: ignore[import-not-found]

    vlm = load(model, language=True)
    (plain,) = say(vlm, [(None, "Who?")], 4)
    assert ASKED[-1][0] == plain.partition("\n")[0]
    assert len(ASKED[-1]) == 2
    assert ability(model, ["likely"], "before")[0].phase == "before"


@pytest.mark.usefixtures("harness")
def test_what_cannot_be_run_is_refused(model: Path) -> None:
    with pytest.raises(InputError, match=r"lmms-eval cannot run nope \(KeyError: 'nope'\)"):
        ability(model, ["nope"], "after")
    with pytest.raises(InputError, match="shows something else than one image"):
        ability(model, ["two"], "after")


@pytest.mark.usefixtures("harness")
def test_evaluate_merges_its_numbers(model: Path, tmp_path: Path) -> None:
    images(1, size=24)[0].save(tmp_path / "a.png")
    file = tmp_path / "asked.jsonl"
    file.write_text('{"image": "a.png", "question": "Who is this?", "answer": "Ada"}\n')
    out = tmp_path / "out"
    asked = ["--model", str(model), "--before", str(model), "--benchmark", str(file), "--out", str(out)]
    assert main(["evaluate", *asked, "--lmms-eval", "mine", "--lmms-limit", "1"]) == 0
    assert '"lmms_mine"' in (out / "result.json").read_text()
    assert "lmms_mine" in (out / "report.html").read_text()


@pytest.mark.skipif(importlib.util.find_spec("lmms_eval") is not None, reason="lmms-eval is installed")
def test_without_lmms_eval_it_says_what_is_missing(model: Path) -> None:
    with pytest.raises(InputError, match=r"needs lmms-eval \(No module named 'lmms_eval'\)"):
        ability(model, ["mme"], "after")
