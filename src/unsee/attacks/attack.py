"""What an attack is: something that tries to get the target out of a model, and what it got, person by person."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

from unsee.errors import InputError
from unsee.evaluation.asking import generate
from unsee.evaluation.scoring import drawn_together
from unsee.metrics.measures import measured
from unsee.models.checkpoint import Vlm, load, visual_parameters
from unsee.records import Sample

Tally = Mapping[str, tuple[float, float]]  # by concept: what was got, of how much


@dataclass(frozen=True)
class Subject:
    """The model that is attacked, and what the attacker has.

    `before` is the checkpoint before the request, `asked` questions about photos of the target that no attack learns
    from, `shown` questions with right answers about other photos of it, `others` the same about retained concepts.
    """

    folder: Path
    before: Path
    asked: tuple[Sample, ...]
    shown: tuple[Sample, ...]
    others: tuple[Sample, ...]
    seed: int = 0
    trust_remote_code: bool = False

    def open(self) -> Vlm:
        """The whole model, fresh from its folder."""
        return load(self.folder, language=True, trust_remote_code=self.trust_remote_code)

    def old(self, vlm: Vlm) -> Vlm:
        """The visual part of the model before the request, of which `vlm` is this one.

        Raises InputError where it is of another build.
        """
        found = load(self.before, trust_remote_code=self.trust_remote_code)
        shapes, own = ({n: v.shape for n, v in visual_parameters(m.model, m.partition).items()} for m in (found, vlm))
        if shapes != own:
            raise InputError(f"{self.before} is another model than {self.folder} was made of; give that one as before.")
        return found

    @cached_property
    def plain(self) -> Tally:
        """What the model says without an attack."""
        return right(self.open(), self.asked)


@dataclass(frozen=True)
class Point:
    """What an attack got at one budget, and its control: a model that knows nothing, or no attack at all."""

    budget: str
    got: Tally
    floor: Tally


class Attack(Protocol):
    """A frozen dataclass whose fields are its settings."""

    name: ClassVar[str]
    on_before: ClassVar[bool]
    """Whether it says something of the model before, as one does not that brings back that model's weights."""

    def run(self, subject: Subject) -> Iterator[Point]:
        """The attack at every budget; the checkpoint stays as it is. Raises InputError where it cannot be made."""
        ...


def tally(concepts: Sequence[str], values: Sequence[float]) -> Tally:
    """Sums and counts by concept."""
    found: dict[str, tuple[float, float]] = {}
    for concept, value in zip(concepts, values, strict=True):
        total, count = found.get(concept, (0.0, 0.0))
        found[concept] = (total + value, count + 1)
    return found


def right(vlm: Vlm, asked: Sequence[Sample], prompts: Sequence[Sample] | None = None) -> Tally:
    """Right answers by concept. `prompts` are asked instead of the samples; the samples say which answers are right."""
    said = generate(vlm, prompts or asked)
    return scored(asked, said)


def scored(asked: Sequence[Sample], said: Sequence[str]) -> Tally:
    """Right answers by concept; by photo where there is one concept."""
    good = [measured(text, sample) for text, sample in zip(said, asked, strict=True)]
    return tally(drawn_together(asked), good)


def needed(samples: Sequence[Sample], what: str, attack: str) -> None:
    """Raises InputError without samples."""
    if not samples:
        raise InputError(f"the attack {attack} needs {what}, and this benchmark has none; leave it out with --attacks.")
