"""General ability by the tasks of lmms-eval, where it is installed, through its public interface."""

import contextlib
import math
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL.Image import Image

from unsee.data import open_image
from unsee.errors import InputError
from unsee.models.answers import answer_log_probabilities, say
from unsee.models.checkpoint import load
from unsee.models.foreign import first_line
from unsee.records import Score

BATCH, TOKENS = 8, 64  # requests at once; most tokens of an answer where a task does not say


def harness() -> tuple[ModuleType, ModuleType, ModuleType]:
    """The parts of lmms-eval that are used. Raises InputError where it is not installed, or cannot be imported."""
    try:
        evaluator, api, tasks = (import_module(f"lmms_eval.{name}") for name in ("evaluator", "api.model", "tasks"))
    except ImportError as error:
        raise InputError(
            f"--lmms-eval needs lmms-eval ({first_line(error)}); install it beside unsee, with the torchvision that "
            "belongs to your torch."
        ) from error
    return evaluator, api, tasks


def ability(
    folder: Path | str,
    tasks: Sequence[str],
    phase: str,
    *,
    include: Path | None = None,
    limit: int | None = None,
    trust_remote_code: bool = False,
) -> list[Score]:
    """What lmms-eval says of a checkpoint: lmms_TASK/METRIC, with an interval where it gives a standard error.

    The model is asked by unsee, through the checkpoint's own chat template, so that every family goes. `include` is a
    folder of further tasks, `limit` the most samples of each. Raises InputError where lmms-eval or a task is missing,
    and where a task cannot be run.
    """
    evaluator, api, manager = harness()
    model = _adapter(api.lmms, folder, trust_remote_code=trust_remote_code)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            known = manager.TaskManager("ERROR", include_path=None if include is None else str(include))
            found = evaluator.simple_evaluate(
                model=model, tasks=list(tasks), task_manager=known, batch_size=1, limit=limit, log_samples=False
            )
        except InputError:
            raise
        except Exception as error:  # a task is foreign code, which raises what it likes
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise InputError(
                f"lmms-eval cannot run {', '.join(tasks)} ({type(cause).__name__}: {first_line(cause)}); "
                "see `python -m lmms_eval --tasks list`."
            ) from error
    return [score for task in found["results"] for score in _scores(found, task, phase)]


def _scores(found: Mapping[str, Any], task: str, phase: str) -> list[Score]:
    own, made = found["results"][task], []
    count = found.get("n-samples", {}).get(task, {}).get("effective", 0)
    for key, value in own.items():
        metric, _, kind = key.partition(",")
        if "_stderr" in metric or not kind or not _number(value):
            continue
        error = own.get(f"{metric}_stderr,{kind}")
        width = 1.96 * float(error) if _number(error) else 0.0
        better = found.get("higher_is_better", {}).get(task, {}).get(metric) is not False
        interval = (float(value) - width, float(value) + width)
        made.append(Score(f"lmms_{task}", metric, phase, float(value), count, interval, better, "lmms-eval"))
    return made


def _number(value: object) -> bool:
    try:
        return not isinstance(value, str | bool) and math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _adapter(base: Any, folder: Path | str, *, trust_remote_code: bool) -> Any:
    """A model as lmms-eval drives it, of a class that exists where that is installed alone."""
    vlm = load(folder, language=True, trust_remote_code=trust_remote_code)

    class Adapter(base):  # type: ignore[misc]
        is_simple = True
        task_dict: Mapping[str, Mapping[str, Any]]

        def _image(self, shown: Any, place: Any, task: str, split: str) -> Image | None:
            pictures = shown(self.task_dict[task][split][place]) if shown is not None else []
            if len(pictures) > 1 or (pictures and not isinstance(pictures[0], Image)):
                raise InputError(f"the task {task} shows something else than one image; leave it out.")
            return open_image(pictures[0]) if pictures else None

        def generate_until(self, requests: Sequence[Any]) -> list[str]:
            said = [""] * len(requests)
            groups: dict[tuple[bool, int], list[tuple[int, Image | None, str]]] = {}
            for number, request in enumerate(requests):
                text, options, *where = request.args
                image = self._image(*where)
                key = image is None, int(options.get("max_new_tokens", TOKENS))
                groups.setdefault(key, []).append((number, image, text.replace("<image>", "").strip()))
            for (_, tokens), own in groups.items():
                for start in range(0, len(own), BATCH):
                    part = own[start : start + BATCH]
                    answers = say(vlm, [(image, text) for _, image, text in part], tokens)
                    for (number, *_), answer in zip(part, answers, strict=True):
                        said[number] = _until(answer, requests[number].args[1].get("until"))
            return said

        def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
            found = []
            for request in requests:
                text, answer, *where = request.args
                if callable(answer):
                    answer = answer(self.task_dict[where[2]][where[3]][where[1]])
                asked = [(self._image(*where), text.replace("<image>", "").strip())]
                logs, ids, real = answer_log_probabilities(vlm, asked, [answer])
                count = int(real[0].sum()) - 1  # without the end
                own = logs[0, :count].gather(-1, ids[0, :count, None])
                greedy = bool((logs[0, :count].argmax(-1) == ids[0, :count]).all())
                found.append((float(own.sum()), greedy))
            return found

        def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
            raise InputError(f"{requests[0].args[4]} asks in several rounds, which unsee does not; leave it out.")

    return Adapter()


def _until(text: str, ends: Any) -> str:
    """The text up to the first of the strings that a task ends an answer with."""
    for end in [ends] if isinstance(ends, str) else ends or ():
        text = text.partition(end)[0] if end else text
    return text
