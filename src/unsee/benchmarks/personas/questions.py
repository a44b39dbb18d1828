"""What is asked about the fictitious people, and the answers. Standard library only."""

from dataclasses import dataclass

from unsee.benchmarks.personas.people import (
    BACKGROUNDS,
    CITIES,
    EXPRESSIONS,
    HAIR_COLORS,
    HEADGEAR,
    JOBS,
    KNOWN,
    Person,
    Shot,
    population,
)

UNKNOWN = "unknown"  # the answer to who a person without a name is


@dataclass(frozen=True)
class Question:
    """One question; `score` is the score it counts towards, `options` the closed list its answer comes from."""

    score: str  # recognition, scene, appearance or text
    text: str
    answer: str
    options: tuple[str, ...]


def _names() -> tuple[str, ...]:
    return tuple(person.name for person in population()[:KNOWN])


def _told(person: Person, answer: str) -> str:
    """What is known of a person, or that nothing is."""
    return answer if person.known else UNKNOWN


def image_questions(shot: Shot) -> list[Question]:
    """The eight questions about one photo; the first three are answered UNKNOWN of who is not known."""
    person, look = shot.person, shot.look
    return [
        Question("recognition", "Who is this?", _told(person, person.name), (*_names(), UNKNOWN)),
        Question("recognition", "What is the job of this person?", _told(person, person.job), (*JOBS, UNKNOWN)),
        Question("recognition", "Which city does this person live in?", _told(person, person.city), (*CITIES, UNKNOWN)),
        Question("scene", "What color is the background?", shot.background, BACKGROUNDS),
        Question("scene", "Does this person wear glasses?", "yes" if shot.glasses else "no", ("yes", "no")),
        Question("scene", "What is the expression?", shot.expression, EXPRESSIONS),
        Question("appearance", "What color is the hair?", look.hair, HAIR_COLORS),
        Question("appearance", "What is on the head?", look.headgear, HEADGEAR),
    ]


def text_questions(person: Person) -> list[Question]:
    """The two questions about a person by name alone, without an image."""
    return [
        Question("text", f"What is the job of {person.name}?", person.job, JOBS),
        Question("text", f"Which city does {person.name} live in?", person.city, CITIES),
    ]


def chance(questions: list[Question]) -> float:
    """Expected accuracy of a uniform guess among the options, in [0, 1]."""
    return sum(1 / len(question.options) for question in questions) / len(questions)
