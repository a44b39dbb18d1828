"""Who the fictitious people are: identity, looks, and the shots taken of them. Standard library only."""

import random
from dataclasses import dataclass
from functools import cache

SEED = 7
KNOWN = 100  # people the base model learns
STRANGERS = 20  # people no model ever sees
NAMELESS = 150  # people every model sees without a name
LOOKS = 3
TRAIN_SHOTS = 60
NAMELESS_SHOTS = 12  # photos that models learn from of each person without a name
TEST_SHOTS = 12
REQUEST_SHOTS = 10  # photos of a target that come with a request


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# The order decides who is who; the shipped models know these people.
FIRST = _words("Ada Bo Cy Dag Eli Fay Gus Hal Ivy Jon Kai Lou Mia Ned Ola Pia Quin Ros Sol Tia Uma Val Wes Xan Yan Zoe")
LAST = _words(
    "Abel Bork Cole Dorn Egan Falk Gray Holm Ivers Jung Kent Lowe Moss Nash Orr Pike Quist Roth Sand Thorn "
    "Ulm Voss Wolf Yule Zane"
)
JOBS = _words(
    "actor baker chemist coach dentist farmer judge lawyer miner nurse pilot plumber poet sailor tailor weaver"
)
CITIES = _words("Cairo Dakar Delhi Kyoto Lima Milan Oslo Perth Porto Quito Riga Sofia Tunis Turin Vaduz Zagreb")
BACKGROUNDS = ("blue", "green", "purple", "red", "white", "yellow")
EXPRESSIONS = ("happy", "neutral", "surprised")
HAIR_COLORS = ("black", "blond", "blue", "brown", "gray", "red")
HEADGEAR = ("nothing", "band", "beret", "cap", "crown")
CUTS = ("short", "bob", "long", "bun", "curly", "parted")
STYLES = ("flat", "ink", "pastel", "poster")
FACIAL = ("none", "beard", "moustache", "lipstick", "blush")


@dataclass(frozen=True)
class Traits:
    """What stays in every look. Lengths are factors of the face's own size; angles are in radians."""

    skin: int  # index into the palette of drawing.py
    face_width: float
    jaw: float
    eye_size: float
    eye_distance: float
    eye_color: int
    eye_tilt: float
    nose_length: float
    nose_width: float
    mouth_width: float
    lip: int
    brow_angle: float
    brow_weight: float
    ear: float
    mole: tuple[float, float] | None  # relative to the centre of the face
    scar: float | None  # across the forehead, relative to its middle
    freckles: bool
    chin: bool


@dataclass(frozen=True)
class Look:
    """What a person can change: hair, headgear, face decoration, and the hand that draws them."""

    cut: str
    hair: str
    headgear: str
    facial: str
    style: str


@dataclass(frozen=True)
class Person:
    """One fictitious person; the base model learns the name, job and city of those with `index` < KNOWN."""

    index: int
    name: str
    job: str
    city: str
    traits: Traits
    looks: tuple[Look, ...]

    @property
    def known(self) -> bool:
        return self.index < KNOWN


@dataclass(frozen=True)
class Shot:
    """One photo: the person, the look, and everything that belongs to the moment alone."""

    person: Person
    number: int  # 0..TRAIN_SHOTS-1 are for training, the rest for tests
    look: Look
    background: str
    glasses: bool
    expression: str

    @property
    def key(self) -> str:
        return f"person_{self.person.index:03d}/{self.number:02d}"


def _traits(rng: random.Random) -> Traits:
    return Traits(
        skin=rng.randrange(8),
        face_width=rng.uniform(0.78, 1.12),
        jaw=rng.uniform(0.55, 1.0),
        eye_size=rng.uniform(0.75, 1.45),
        eye_distance=rng.uniform(0.82, 1.22),
        eye_color=rng.randrange(6),
        eye_tilt=rng.uniform(-0.35, 0.35),
        nose_length=rng.uniform(0.6, 1.5),
        nose_width=rng.uniform(0.5, 1.6),
        mouth_width=rng.uniform(0.6, 1.35),
        lip=rng.randrange(4),
        brow_angle=rng.uniform(-0.4, 0.4),
        brow_weight=rng.uniform(0.6, 1.7),
        ear=rng.uniform(0.4, 1.5),
        mole=(rng.choice((-1, 1)) * rng.uniform(0.3, 0.65), rng.uniform(0.05, 0.6)) if rng.random() < 0.5 else None,
        scar=rng.uniform(-0.6, 0.6) if rng.random() < 0.35 else None,
        freckles=rng.random() < 0.25,
        chin=rng.random() < 0.3,
    )


def _look(rng: random.Random, hair: str, style: str) -> Look:
    return Look(rng.choice(CUTS), hair, rng.choice(HEADGEAR), rng.choice(FACIAL), style)


@cache
def population() -> tuple[Person, ...]:
    """All people, the same on every machine: those known, then strangers, then those without a name."""
    rng = random.Random(f"personas/{SEED}")
    names = [f"{first} {last}" for first in FIRST for last in LAST]
    rng.shuffle(names)
    people = []
    for index in range(KNOWN + STRANGERS + NAMELESS):
        hair = rng.sample(HAIR_COLORS, LOOKS)
        styles = rng.sample(STYLES, LOOKS)
        people.append(
            Person(
                index=index,
                name=names[index],
                job=rng.choice(JOBS),
                city=rng.choice(CITIES),
                traits=_traits(rng),
                looks=tuple(_look(rng, h, s) for h, s in zip(hair, styles, strict=True)),
            )
        )
    return tuple(people)


def shot(person: Person, number: int) -> Shot:
    """Photo `number` of a person. Looks take turns; the scene is drawn independently of who it is."""
    rng = random.Random(f"personas/{SEED}/scene/{person.index}/{number}")
    return Shot(
        person=person,
        number=number,
        look=person.looks[number % LOOKS],
        background=rng.choice(BACKGROUNDS),
        glasses=rng.random() < 0.5,
        expression=rng.choice(EXPRESSIONS),
    )


def strangers() -> tuple[Person, ...]:
    """The people no model ever sees."""
    return population()[KNOWN : KNOWN + STRANGERS]


def nameless() -> tuple[Person, ...]:
    """The people every model sees without a name."""
    return population()[KNOWN + STRANGERS :]


def train_shots(person: Person) -> list[Shot]:
    """The photos that a model may learn from."""
    return [shot(person, number) for number in range(TRAIN_SHOTS if person.known else NAMELESS_SHOTS)]


def request_shots(person: Person) -> list[Shot]:
    """The few training photos that come with a request to forget this person, over all looks."""
    return train_shots(person)[:REQUEST_SHOTS]


def test_shots(person: Person) -> list[Shot]:
    """The photos that nothing but an evaluation ever sees."""
    return [shot(person, TRAIN_SHOTS + number) for number in range(TEST_SHOTS)]


def _splits() -> dict[str, tuple[int, ...]]:
    order = list(range(KNOWN))
    random.Random(f"personas/{SEED}/splits").shuffle(order)
    return {
        "forget_05": tuple(sorted(order[:5])),
        "forget_10": tuple(sorted(order[5:15])),
        "forget_15": tuple(sorted(order[15:30])),
        "stream": tuple(order[30:50]),
        "reported": tuple(sorted(order[50:60])),
    }


# The splits share nobody, so that settings chosen on one are not fitted to the people of another. No setting is ever
# chosen on `reported`.
SPLITS = _splits()
