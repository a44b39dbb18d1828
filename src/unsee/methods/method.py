"""What a method is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from unsee.forgetting.edit import Edit
from unsee.forgetting.training import Progress
from unsee.models.checkpoint import Vlm
from unsee.moments.records import Moments, MomentSettings, Photos
from unsee.records import Sample


class Method(Protocol):
    """A frozen dataclass whose fields are its settings."""

    name: ClassVar[str]
    language: ClassVar[bool]
    """Whether it runs the language model, which must then be opened with the model."""
    __dataclass_fields__: ClassVar[dict[str, Any]]

    def moment_settings(self, seed: int) -> MomentSettings:
        """How this method wants the retained features summarised."""

    def forget(
        self,
        vlm: Vlm,
        target: Sequence[Sample],
        retained: Sequence[Sample] | Photos | None,
        *,
        moments: Moments | None = None,
        seed: int = 0,
        memory: str = "normal",
        state: Path | None = None,
        progress: Progress | None = None,
    ) -> Edit:
        """Forgets what is on the target images; see `unsee.forget`. The model's own weights are put back afterwards.

        Retained images may be given ready, with `moments`: the features they come with are those to be kept, of an
        earlier model for instance.
        """
