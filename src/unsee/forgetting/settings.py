"""Settings of the methods that send features elsewhere; the help of each option is here."""

from dataclasses import dataclass, replace
from typing import Literal, Self

from unsee.errors import InputError, check_kind, check_ranges, check_share, unknown
from unsee.forgetting.optimizers import OPTIMIZERS
from unsee.forgetting.regions import AUTO as AUTO_REGION
from unsee.forgetting.regions import region
from unsee.linalg.subspace import CRITERIA
from unsee.models.outline import SHARE
from unsee.moments.records import AUTO, MomentSettings

AT_LEAST_0 = (
    *(
        "contrast",
        "attract",
        "harden",
        "resist",
        "depths",
        "distill",
        "replay",
        "identity",
        "blends",
        "composites",
        "aside",
    ),
    *("weight_decay", "stop_target", "stop_drift", "most_drift"),
)
FEW = 3  # concepts of a request, up to which it needs fewer layers and steps; see docs/log.md
HOLD, HOLD_FEW = 10.0, 100.0  # the second beside few photos of others
FEW_PHOTOS = 50
SHARE_MANY, STEPS, STEPS_MANY = 0.65, 200, 800
VIEWS, VIEWS_EACH = 3200, 120  # variations in all, and at least of each photo; with fewer, others keep their names


@dataclass(frozen=True)
class FeatureSettings:
    """Settings of the methods that move features, with the defaults of NSCVF; each part can be switched off."""

    region: str = AUTO_REGION
    """Goal of the target's features. discriminant: the middle of a third of the retained concepts; concept: one of
    them; nearest, neighbours, mean and random are in docs/method.md. auto: discriminant, and where the model is asked,
    on to where it does not name the target and says what it says of strangers, if it has an answer for them."""
    reach: float = 1.0
    """Length of the move to that goal, as a factor above 0: 1 goes there, more goes past it. Where the model is not
    asked, it grows by itself while the target would still be recognised."""
    modes: int = 3
    """Clusters per concept, at most, 1 or more: the looks of a person, the versions of a logo."""
    directions: int = 12
    """Number of discriminant directions, those that tell concepts apart, along which features move; 1 or more."""
    aside: int = 4
    """Directions left alone: the move avoids so many of those in which photos of one concept differ most. For the
    regions discriminant and concept."""
    contrast: float = 0.1
    """Weight of the contrastive loss: features near their goal and far from what they were; 0 switches it off."""
    attract: float = 1.0
    """Weight of the squared distance between target features and their goal; 0 switches it off."""
    harden: float = 0.0
    """Protection against old weights put back: weight of the distance to the goal while later layers have their old
    weights. 0 switches it off, 1 is a good value."""
    resist: float = 0.0
    """Protection against relearning: weight of the distance to the goal after up to three steps of a simulated
    attacker, who trains on other photos of the target. 0 switches it off, 1 is a good value."""
    tamper: float = 0.012
    """Step size of that attacker, above 0: how far a step moves each weight, by the root mean square of its matrix."""
    depths: float = 0.0
    """Protection against probes of inner layers: weight of making the target's concepts alike in the output of every
    trained block. Needs retained photos. 0 switches it off, 1 is a good value."""
    distill: float = 6.0
    """Weight of keeping the features of retained photos as they were; 0, or no retained photo, switches it off."""
    hold: float | Literal["auto"] = AUTO
    """Weight of keeping what each layer gives for retained inputs, in those directions of its outputs that are read
    further on; 0 switches it off. auto: 10, or 100 with fewer than 50 retained photos, and 0 with retained photos
    for more than three targets at once."""
    replay: float = 20.0
    """Where there is no retained photo: weight of keeping what the model makes of states drawn from the moments of
    retained photos; 0 switches it off."""
    near: float = 0.0
    """Share of those retained photos, in [0, 1], that are drawn from the quarter which is most like the target."""
    identity: float = 1.0
    """Weight, within every distance between features, of the directions that tell concepts apart; 0 or more."""
    temperature: float = 0.5
    """Temperature of the contrastive loss, above 0."""
    null_space: bool = True
    """Whether every update is confined to the null space of the retained photos' layer inputs, so that their outputs
    stay; with --no-null-space it goes anywhere."""
    criterion: str = "soft"
    """What counts as that null space. soft weighs each direction by how much retained photos use it; energy, centred,
    rank and kaiser cut off (docs/method.md)."""
    ridge: float = 0.01
    """Softness of the criterion soft, above 0, in units of the mean energy of a direction; smaller protects more."""
    keep: float = 0.99
    """Share of the retained photos' energy that the other criteria protect, in [0, 1]."""
    views: int | Literal["auto"] = AUTO
    """Augmented target photos to train on, in all, 0 or more; each is mixed with parts of other photos. auto: 3,200,
    or more where there are so many photos that each would have fewer than 120."""
    composites: int = 1000
    """People who do not exist, in all, 0 or more: pictures put together from retained photos, whose features are kept
    as well. They stand in for people of whom there is no photo."""
    blends: int = 0
    """Blends of target photos with retained ones to train on, in all, 0 or more; each moves as far as it shows the
    target."""
    crossings: tuple[str, ...] = ()
    """Connector outputs at which features must change: names that `unsee inspect` lists; all of them if none is
    named."""
    runs: int | Literal["auto", "read"] = AUTO
    """What describes an image. A number: into how many groups of neighbouring tokens its features are averaged; 1: one
    mean over all tokens; 0: every token by itself, or 16 groups where the number of tokens varies or is large. read:
    the directions that the language model's answers depend on. auto: read where the language model is asked; else
    1, 16 or 0, whichever tells the concepts of photos apart best that were kept out of it."""
    share: float | Literal["auto"] = AUTO
    """Share of the layers to train, counted back from the connector: above 0, 1 for all. All are trained where
    features enter the language model in several places. auto: .43, and .65 for more than three targets at once."""
    steps: int | Literal["auto"] = AUTO
    """Training steps, at most, 1 or more. auto: 200, and 800 for more than three targets at once."""
    rate: float = 0.04
    """Length of a step at its longest, by the norm of the weight that it moves; above 0."""
    optimizer: str = "muon"
    """What makes a step of a gradient. muon: every direction of a weight moves alike. adamw: every number does, which
    needs more and shorter steps."""
    weight_decay: float = 0.0
    """Weight decay, towards the original weights, 0 or more."""
    batch: int = 32
    """Target images per step, 1 or more; half as many again of retained images come with them."""
    stop_target: float = 0.0
    """Stop early once the target's distance to its goal is this share of what it was at first ... 0: make all steps,
    because the last and shortest ones bring retained features back."""
    stop_drift: float = 0.02
    """... and retained features have moved no further than this, where 1 is as far as a photo of somebody else."""
    most_drift: float = 0.1
    """Once retained features have moved further than this, training goes back and makes steps of half the length."""

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        region(self.region)
        if self.criterion not in (*CRITERIA, "soft"):
            raise unknown("criterion", self.criterion, (*CRITERIA, "soft"))
        if self.optimizer not in OPTIMIZERS:
            raise unknown("optimizer", self.optimizer, OPTIMIZERS)
        check_ranges(
            self,
            above=("reach", "temperature", "ridge", "tamper", "rate"),
            at_least_0=AT_LEAST_0 + (() if self.hold == AUTO else ("hold",)),
            at_least_1=("modes", "directions", "batch") + (() if self.steps == AUTO else ("steps",)),
            shares=("keep", "near"),
        )
        check_share(self.layers())
        if isinstance(self.runs, int) and self.runs < 0:
            raise InputError(f"runs is {self.runs}; expected a number of 0 or more, auto or read.")
        for name in ("views", "share", "steps", "hold"):
            if isinstance(value := vars(self)[name], str) and value != AUTO:
                raise InputError(f"{name} is {value!r}; expected a number, or auto.")
        for name in ("runs", "views"):
            check_kind(name, vars(self)[name], (int, str), "a whole number, or auto")
        if isinstance(self.views, int) and self.views < 0:
            raise InputError(f"views is {self.views}; expected a number of 0 or more, or auto.")
        if self.contrast == self.attract == 0:
            raise InputError("contrast and attract are both 0, so that nothing would be forgotten; set one above 0.")

    def sized(self, concepts: int) -> Self:
        """The settings for a request about so many people or things; what else is to be found stays."""
        many = concepts > FEW
        share = (SHARE_MANY if many else SHARE) if isinstance(self.share, str) else self.share
        steps = (STEPS_MANY if many else STEPS) if isinstance(self.steps, str) else self.steps
        return replace(self, share=share, steps=steps)

    def holding(self, concepts: int, photos: int) -> Self:
        """The settings with how much layers are held, with so many `photos` of whom must be kept.

        Photos of everybody say what must be kept better than moments do, and many targets need the room.
        """
        if not isinstance(self.hold, str):
            return self
        beside = HOLD_FEW if photos < FEW_PHOTOS else HOLD
        return replace(self, hold=HOLD if not photos else beside if concepts <= FEW else 0.0)

    def layers(self) -> float:
        """Share of the layers that are trained."""
        return SHARE if isinstance(self.share, str) else self.share

    def most_steps(self) -> int:
        """How many steps are made at most."""
        return STEPS if isinstance(self.steps, str) else self.steps

    def views_of(self, photos: int) -> int:
        """How many variations there are of so many photos, in all."""
        return max(VIEWS, VIEWS_EACH * photos) if isinstance(self.views, str) else self.views

    def moment_settings(self, seed: int) -> MomentSettings:
        """How this method wants the retained features summarised."""
        return MomentSettings(modes=self.modes, seed=seed, crossings=self.crossings, runs=self.runs)
