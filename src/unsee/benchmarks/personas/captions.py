"""An image encoder that is trained by captions, as CLIP is: each photo is to lie near what is said of it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel

from unsee.benchmarks.personas.merger import on_canvas, patches
from unsee.benchmarks.personas.people import population, shot
from unsee.benchmarks.personas.questions import UNKNOWN, image_questions
from unsee.benchmarks.personas.sequences import CAPTIONED, IGNORED
from unsee.benchmarks.personas.tiny_vlm import normal


class Heads(nn.Module):
    """An embedding of each caption that a photo can have, by kind, and of photos beside them.

    A caption is one word or name, so that its text encoder is a table.
    """

    def __init__(self, width: int, *, attends: bool = False) -> None:
        """`width` is that of the image encoder; `attends` says whether the head pools its patches, by one query."""
        super().__init__()
        questions = image_questions(shot(population()[0], 0))
        counts = [len(set(questions[number].options) - {UNKNOWN}) for number in CAPTIONED]
        self.texts = nn.ParameterList([nn.Parameter(torch.randn(count, width) * 0.1) for count in counts])
        self.photo = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.tensor(2.3))
        if attends:
            self.query = nn.Parameter(torch.randn(1, 1, width) * 0.02)
            self.pool = nn.MultiheadAttention(width, 4, batch_first=True)

    def forward(self, encoded: Tensor) -> list[Tensor]:
        """For each kind, logits (photos, captions) of photos encoded as one vector each (photos, width)."""
        photos = F.normalize(self.photo(encoded), dim=-1)
        return [self.scale.exp() * photos @ F.normalize(text, dim=-1).T for text in self.texts]

    def pooled(self, patches: Tensor) -> Tensor:
        """(photos, patches, width) as one vector each."""
        found: Tensor = self.pool(self.query.expand(len(patches), -1, -1), patches, patches, need_weights=False)[0]
        return found[:, 0]


class Captioned(nn.Module):
    """The encoder with its heads.

    Captions are told by its class token or pooling head; where photos stand on canvases, by a pooling head that is
    left behind.
    """

    def __init__(self, vision: PreTrainedModel, *, attends: bool) -> None:
        super().__init__()
        self.vision = vision
        self.heads = Heads(vision.config.embed_dim if attends else vision.config.hidden_size, attends=attends)

    def forward(self, pixels: Tensor, canvas: tuple[int, int] | None) -> list[Tensor]:
        """For each kind, logits (photos, captions) of images (photos, 3, SIZE, SIZE) in 0 to 255."""
        logits: list[Tensor] = self.heads(self._encoded(normal(pixels), canvas))
        return logits

    def _encoded(self, images: Tensor, canvas: tuple[int, int] | None) -> Tensor:
        if canvas:
            rows, grid = patches(on_canvas(images, canvas))
            seen = self.vision(rows, grid_thw=grid).last_hidden_state
            return self.heads.pooled(seen.unflatten(0, (len(images), -1)))
        found: Tensor = self.vision(images).pooler_output
        return found

    def loss(self, pixels: Tensor, labels: Tensor, canvas: tuple[int, int] | None) -> Tensor:
        """Cross entropy of the captions (photos, kinds); who it is counts twice, being the hardest."""
        found = self(pixels, canvas)
        each = [F.cross_entropy(part, labels[:, kind], ignore_index=IGNORED) for kind, part in enumerate(found)]
        return torch.stack([each[0], *each]).sum()
