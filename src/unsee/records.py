"""What passes between the rooms, and the schema of result.json. Standard library only."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import is_normalized, normalize

from unsee.errors import InputError, check_file

if TYPE_CHECKING:
    from pandas import DataFrame
    from PIL.Image import Image

SCHEMA = 1
PHASES = ("before", "after", "oracle")
OWN = "own photos"  # the benchmark of a result where somebody's own photos were asked about
OWN_ANSWERS = "own_answers"  # the check that stands for a request's verdict


@dataclass(frozen=True)
class Sample:
    """One image, or one question about an image or about nothing but text.

    `image` is a file or an image in memory; None for a text-only question. `subset` is where an evaluation counts it,
    as in "target" or "retained"; `score` is the score it counts towards, as in "recognition", and `measure` how answers
    are compared, by a name of `unsee.metrics.measures`. `wrong` are wrong answers and `paraphrase` another wording of
    the right one, whose likelihoods some measures compare. `fact` is the same for a question with an image and one
    without about the same thing. `shots` are asked and answered before it. An answer has at most `tokens` tokens, with
    0 as many as right ones may need, and is read by a name of `unsee.metrics.readings` before it is compared.
    """

    image: "Path | Image | None"
    concept: str
    question: str = ""
    answer: str = ""
    options: tuple[str, ...] = ()
    score: str = ""
    subset: str = ""
    measure: str = "accuracy"
    wrong: tuple[str, ...] = ()
    paraphrase: str = ""
    fact: str = ""
    shots: "tuple[Sample, ...]" = ()
    tokens: int = 0
    reading: str = ""

    def __post_init__(self) -> None:
        """One spelling of a name: some systems write an accent as a sign of its own."""
        if isinstance(self.concept, str) and not is_normalized("NFC", self.concept):
            object.__setattr__(self, "concept", normalize("NFC", self.concept))

    @property
    def picture(self) -> Path | int:
        """The same for samples about one photo; of one without a photo, its own."""
        if self.image is None:
            return id(self)
        return self.image if isinstance(self.image, Path) else id(self.image)


@dataclass(frozen=True)
class Score:
    """One measured value; `ci95` is its bootstrap interval over concepts, `n` the number of questions."""

    name: str
    subset: str
    phase: str
    value: float
    n: int
    ci95: tuple[float, float]
    higher_is_better: bool
    unit: str = "accuracy"


@dataclass(frozen=True)
class Check:
    """Something that must hold, whether it did, and the evidence in one sentence."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Verdict:
    """Whether a request did what it should, by the model's own answers to `question` before and after.

    `counts` are (how many, of how many photos): `used_named` and `aside_named` of the target's photos that still get
    the answer they got before, of those trained on and those set aside; `used_misattributed` and `aside_misattributed`
    that get the name of somebody else; `aside_varied` of variations of the photos set aside, where these are few, that
    are still named; `shown_kept` and `unshown_kept` of others' photos that keep theirs, of others trained on and others
    kept out; `shown_gained` and `unshown_gained` of their photos that now get the right answer
    and did not before, which the verdict sets against those that lose theirs. `unshown_concepts` are the people or
    things kept out, of all others, where photos are sorted by them; `since_kept` the photos of others, shown or not,
    that are still named, of those that were before the first request of a session. `missed` names what is beyond its
    bound. Without a question the model was not asked.
    """

    passed: bool
    question: str
    counts: dict[str, tuple[int, int]]
    missed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The figures in words."""
        if not self.question:
            return "The model itself was not asked."
        used, aside = self.counts["used_named"], self.counts["aside_named"]
        text = f"Of {_photos(used[1])} used {used[0]}"
        text += f", and of {aside[1]} set aside {aside[0]}" if aside[1] else ""
        varied, views = self.counts.get("aside_varied", (0, 0))
        text += f" (of {views} variations of these {varied})" if views else ""
        text += f" still get the answer to {self.question!r} that they got before"
        if not used[1] + aside[1]:
            text = f"No photo of the target got an answer to {self.question!r} before that names it"
        for group, who in (("shown", "others"), ("unshown", "others that were not shown")):
            kept, total = self.counts[f"{group}_kept"]
            gained, _ = self.counts.get(f"{group}_gained", (0, 0))  # older records do not count them
            text += f"; of {_photos(total)} of {who} {kept} keep theirs" if total else ""
            text += f", and {gained} more now get the right one" if gained else ""
        kept, known = self.counts.get("since_kept", (0, 0))
        text += f"; of {_photos(known)} of others that were named when the session began {kept} are" if known else ""
        wrong = sum(self.counts[f"{group}_misattributed"][0] for group in ("used", "aside"))
        text += f"; {wrong} of the target's get the name of somebody else" if wrong else ""
        return f"{text}."

    def check(self) -> Check:
        """The verdict as a check of a result."""
        return Check(OWN_ANSWERS, self.passed, f"{self.sentence()} {self.missing()}".strip().removesuffix("."))

    def missing(self) -> str:
        """What is beyond its bound and what to try, in words; empty where nothing is."""
        return " ".join(f"{why}; {advice}." for name, (why, advice) in MISSED.items() if name in self.missed)


@dataclass(frozen=True)
class Reply:
    """What the model said to one question before and after a request.

    The sample holds the photo, if there is one, the question, the answer that is expected, and what it counts towards.
    """

    sample: Sample
    before: str
    after: str
    judged: bool = False
    """Whether the verdict on the request goes by it."""


@dataclass(frozen=True)
class Request:
    """What a request was about, for records: it can be compared with photos, and shows and names nobody.

    `time` is in UTC. Hashes are SHA-256 in hex of the salt and a photo's content hash: `used` and `aside` those of the
    target's photos that were trained on and set aside, `unshown` those of others' photos that were kept out, `concepts`
    those of the names of the target's concepts. `skipped_files`
    were given and left out, because they could not be read.
    """

    id: str
    time: str
    salt: str
    used: tuple[str, ...]
    aside: tuple[str, ...]
    concepts: tuple[str, ...]
    retained_images: int
    retained_concepts: int
    skipped_files: int = 0
    unshown: tuple[str, ...] = ()


MISSED = {
    "unknown": (
        "The model did not name the target before",
        "ask a question to which its answer names it, with --ask, or let the folder say the name, with "
        "--answer-from-folder",
    ),
    "used_named": ("The target is still named", "try twice the --steps, a longer --reach, or another --runs"),
    "aside_named": (
        "Photos of the target that were set aside are still named",
        "give more and more different photos of the target, or try twice the --steps",
    ),
    "misattributed": (
        "Photos of the target get the names of others, though the model can say that it does not know",
        "try another --region or more --steps",
    ),
    "shown_kept": (
        "Too many photos of others lost their names",
        "try a shorter --reach, a smaller --rate, or more --distill",
    ),
    "unshown_kept": (
        "Too many photos of others that were not shown lost their names",
        "give photos of more others with --retain, or try a shorter --reach",
    ),
    "few_others": (
        "The photos of others show too few people or things to say what becomes of the rest",
        "give photos of six others or more with --retain",
    ),
    "no_others": (
        "Nothing stood for others, who may have lost much: there is no photo of them, and of this model no states can "
        "be drawn from moments",
        "give photos of others with --retain, or of anybody with --public",
    ),
    "target": ("The features of the target did not go where they were sent", "try more --steps or another --region"),
    "drift": ("What must be kept moved too far", "try a smaller --rate, or more --distill"),
}
"""By what is missed: what that means, and what to try."""


def _photos(number: int) -> str:
    return f"{number} photo" if number == 1 else f"{number} photos"


@dataclass(frozen=True)
class Example:
    """One image with a question and the answers of each phase; `image` is a PNG as a data URI."""

    subset: str
    concept: str
    image: str
    question: str
    expected: str
    answers: dict[str, str]


@dataclass(frozen=True)
class LayerDrift:
    """How far one trained weight moved: `retained` = tr(dW G dW^T) / tr(W G W^T), `change` = |dW| / |W|.

    `rank` directions of its `width` input directions are protected.
    """

    name: str
    retained: float
    change: float
    rank: int
    width: int


@dataclass(frozen=True)
class MapPoint:
    """One image in the 2-D map of features; `group` is target, retained or unknown, `phase` before or after."""

    x: float
    y: float
    group: str
    phase: str
    concept: str


@dataclass(frozen=True, repr=False)
class Result:
    """Everything that was asked, done and measured; `result.json` is this record.

    `time` is in UTC; `request` is a Request and `verdict` a Verdict with its sentence, where there was one;
    `state` is passed, failed or not measured, as the page says it.
    """

    unsee: str
    model: dict[str, Any]
    method: dict[str, Any]
    seed: int
    data: dict[str, Any]
    timings: dict[str, float]
    scores: list[Score]
    checks: list[Check]
    examples: list[Example]
    environment: dict[str, Any]
    layers: list[LayerDrift] = field(default_factory=list)
    feature_map: list[MapPoint] = field(default_factory=list)
    time: str = ""
    request: dict[str, Any] | None = None
    verdict: dict[str, Any] | None = None
    state: str = ""
    schema: int = SCHEMA

    def __repr__(self) -> str:
        """In a line: the model, and how many scores and checks there are."""
        failed = sum(not check.passed for check in self.checks)
        return f"<Result of {self.model.get('name', 'a model')}: {len(self.scores)} scores, {failed} checks failed>"

    def _repr_html_(self) -> str:
        """For a notebook: the scores as a table."""
        rows = "".join(
            f"<tr><td>{escape(s.name)}/{escape(s.subset)}</td><td>{escape(s.phase)}</td><td>{s.value:.3f}</td></tr>"
            for s in self.scores
        )
        return f"<p>{escape(repr(self))}</p><table><tr><th>score</th><th>phase</th><th>value</th></tr>{rows}</table>"

    def to_json(self) -> str:
        """`result.json` as text."""
        return to_json(self)

    def to_pandas(self) -> "DataFrame":
        """The scores as a table of pandas. Raises InputError where pandas is not installed."""
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise InputError("a table needs pandas, which is missing; run pip install pandas.") from error
        return DataFrame([asdict(score) for score in self.scores])

    def value(self, name: str, subset: str, phase: str) -> float | None:
        """The value of one score, or None where it was not measured."""
        for score in self.scores:
            if (score.name, score.subset, score.phase) == (name, subset, phase):
                return score.value
        return None


def plain(value: Any) -> Any:
    """A row or a part of one as JSON holds it: null where a number is none."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def to_json(result: Result) -> str:
    """`result.json` as text, ending in a newline."""
    return json.dumps(asdict(result), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


MOST_DIGITS = 18  # of a whole number


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"{digits[:MOST_DIGITS]}... is no number that unsee writes")
    return int(digits)


def check_schema(name: str, record: Any, source: str, only: Sequence[str] | None = None) -> None:
    """Raises InputError, naming `source` and the field, where a record is not what `schema/NAME.schema.json` says.

    Of a record of an older version, `only` these fields are what they were.
    """
    from jsonschema import Draft202012Validator  # takes a third of a second

    schema = json.loads((files("unsee") / "schema" / f"{name}.schema.json").read_text(encoding="utf-8"))
    if only is not None:
        schema = {"properties": {field: schema["properties"][field] for field in only}}
    wrong = next(Draft202012Validator(schema).iter_errors(record), None)
    if wrong is not None:
        place = "/".join(map(str, wrong.absolute_path)) or "the record"
        raise InputError(f"{source} was changed: {place[:120]} is wrong ({wrong.message[:120]}); write it again.")


def read_result(file: Path) -> Result:
    """The result of a result.json. Raises InputError for a file that is none."""
    check_file(file, "a result.json that unsee wrote")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read ({error}); expected a result.json that unsee wrote.") from error
    return from_json(text, str(file))


def from_json(text: str, source: str = "result.json") -> Result:
    """The record written by `to_json`. Raises InputError, naming `source`, where the text is not one."""
    try:
        row = json.loads(text, parse_constant=_no_constant, parse_int=_whole)
        json.dumps(row, ensure_ascii=False).encode("utf-8")  # half a character, written as an escape, is no text
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} is not JSON ({error}); expected a result.json written by unsee.") from error
    if isinstance(row, Mapping) and "files_after" in row:
        raise InputError(f"{source} is the record of a checkpoint and no result; give the result.json beside it.")
    if not isinstance(row, Mapping) or row.get("schema") != SCHEMA:
        found = row.get("schema") if isinstance(row, Mapping) else type(row).__name__
        raise InputError(
            f"{source} has schema {str(found)[:40]!r}, expected {SCHEMA}; write it again with this version of unsee."
        )
    check_schema("result", row, source)
    lists: dict[str, Any] = {
        "scores": Score, "checks": Check, "examples": Example, "layers": LayerDrift, "feature_map": MapPoint,
    }  # fmt: skip
    try:
        parsed = {key: [kind(**item) for item in row[key]] for key, kind in lists.items()}
        parsed["scores"] = [Score(**{**asdict(s), "ci95": tuple(s.ci95)}) for s in parsed["scores"]]
        return Result(**{**row, **parsed})
    except (KeyError, TypeError) as error:
        raise InputError(
            f"{source} lacks or misspells a field ({error}); write it again with unsee evaluate."
        ) from error
