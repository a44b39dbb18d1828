"""Settings of the methods that send features elsewhere; the help of each option is here."""

from dataclasses import dataclass

from unsee.errors import InputError, check_ranges, check_share, unknown
from unsee.forgetting.regions import region
from unsee.linalg.subspace import CRITERIA
from unsee.models.outline import SHARE
from unsee.moments.records import MomentSettings

AT_LEAST_0 = (
    *("contrast", "attract", "harden", "resist", "depths", "distill", "identity", "views", "blends", "runs", "aside"),
    *("weight_decay", "stop_target", "stop_drift"),
)


@dataclass(frozen=True)
class FeatureSettings:
    """Settings that the methods of this engine share, with the defaults of NSCVF; each part can be switched off."""

    region: str = "discriminant"
    """Where the target's features are sent: a name in unsee.forgetting.regions.REGIONS."""
    reach: float = 2.5
    """Factor of the region's shift, above 0; it grows where the target would still be named."""
    modes: int = 3
    """Most clusters that a concept is divided into, 1 or more."""
    directions: int = 12
    """Discriminant directions that the region moves, 1 or more."""
    aside: int = 4
    """Of the regions discriminant and concept: how many directions, of those that vary most within a concept, stay."""
    contrast: float = 0.1
    """Weight of the contrastive loss; 0 switches it off."""
    attract: float = 1.0
    """Weight of the squared distance to the region; 0 switches it off."""
    harden: float = 0.0
    """Weight of the same distance where the trained layers from a random one on are those of before, so that putting
    their weights back does not bring the target back; 0 switches it off, 1 is a good value."""
    resist: float = 0.0
    """Weight of the same distance where up to three steps of an attacker lead, who brings the features of other target
    images back, so that relearning brings back less; 0 switches it off, 1 is a good value."""
    tamper: float = 0.012
    """How far such a step moves every number of a layer's weight, of the root of their mean square; above 0."""
    depths: float = 0.0
    """Weight of the squared distance, in what every trained block of the encoder gives, to where the target's concepts
    are one, so that a probe tells them apart no better; needs retained images; 0 switches it off, 1 is a good value."""
    distill: float = 6.0
    """Weight of keeping the features of retained images; 0, or no retained image, switches it off."""
    identity: float = 1.0
    """Weight, within both, of the coordinates that tell concepts apart; 0 or more."""
    temperature: float = 0.5
    """Of the contrastive loss, above 0."""
    null_space: bool = True
    """Confine every step to the null space of what is retained."""
    criterion: str = "soft"
    """What is protected: soft (each direction by its retained energy), or a name in unsee.linalg.subspace.CRITERIA."""
    ridge: float = 0.01
    """Of soft, above 0, in units of the mean energy; smaller protects more."""
    keep: float = 0.99
    """Of the other criteria: how much is protected, in [0, 1]."""
    views: int = 3200
    """Variations of the target images altogether, mixed with others of the same look and retained ones; 0 or more."""
    blends: int = 0
    """Blends of target images with retained ones altogether, which go as far as they are of the target; 0 or more."""
    crossings: tuple[str, ...] = ()
    """Where features must be forgotten: names that `unsee inspect` gives; every crossing where none is named."""
    runs: int = 1
    """Runs of tokens whose means describe an image; 1: its mean over all tokens; 0: each token, or 16 runs where their
    number varies or is large."""
    share: float = SHARE
    """Of the layers that are trained, counted from the features back: above 0, 1 for all; all of them anyway where
    features enter the language model in several places."""
    steps: int = 400
    """Most training steps, 1 or more."""
    rate: float = 4e-3
    """Highest learning rate, above 0."""
    weight_decay: float = 0.0
    """Of AdamW, 0 or more."""
    batch: int = 32
    """Target images per step, 1 or more; half as many again are retained ones."""
    stop_target: float = 0.02
    """Stop early when the target is this close to its region (1 is where it started) ..."""
    stop_drift: float = 0.02
    """... and retained features have moved no more than this (1 is as far as a stranger)."""

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its range."""
        region(self.region)
        if self.criterion not in (*CRITERIA, "soft"):
            raise unknown("criterion", self.criterion, (*CRITERIA, "soft"))
        check_ranges(
            self,
            above=("reach", "temperature", "rate", "ridge", "tamper"),
            at_least_0=AT_LEAST_0,
            at_least_1=("modes", "directions", "steps", "batch"),
            shares=("keep",),
        )
        check_share(self.share)
        if self.contrast == self.attract == 0:
            raise InputError("contrast and attract are both 0, so that nothing would be forgotten; set one above 0.")

    def moment_settings(self, seed: int) -> MomentSettings:
        """How this method wants the retained features summarised."""
        return MomentSettings(modes=self.modes, seed=seed, crossings=self.crossings, runs=self.runs)
