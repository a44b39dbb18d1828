"""What the frozen language model reads of an image's features: where its answers have slopes, and what they are there.

Source: ours. The second moment of the slopes is the Gauss-Newton approximation of how far answers move with features.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL.Image import Image
from torch import Generator, Tensor

from unsee.data import open_image
from unsee.data.views import LARGEST, largest, shrunk
from unsee.errors import InputError
from unsee.metrics.same import says
from unsee.models.answers import answer_log_probabilities, say
from unsee.models.checkpoint import Vlm
from unsee.models.features import Features
from unsee.models.given import Change, changed_features, readable
from unsee.models.inputs import enough, image_inputs
from unsee.moments.vectors import Layout
from unsee.system.progress import steps

TOKENS = 16  # of an answer that are looked at, at most
STEPS, STEP = 40, 0.2  # towards an answer: how many, and how long each is, in units of the spread of features
SURE = 0.5  # nats, at most, of each answer that counts as reached


def can_be_read(whole: Vlm) -> bool:
    """Whether a model's answers can be followed back to its image features: not in families that take them otherwise.

    Nor where an encoder reads the question and a decoder answers.
    """
    return readable(whole.model) and not whole.model.config.is_encoder_decoder


@dataclass(frozen=True)
class Landed:
    """Share of images, in [0, 1], that still are `named` as before, and of those that get `another` one's name."""

    named: float
    another: float


@dataclass(frozen=True, eq=False)
class Reader:
    """A model that was opened with its language model, a question to it, and how many images it is asked about at once.

    Its visual weights are those of the model that is to forget, before it does. `names` are, by concept, the
    answers that name those of the target that it knows, `others` those that name somebody else, and `common` words
    those of all answers. `unnamed` is what the model says of whom it does not know, empty where it has nothing to say
    of them.
    """

    whole: Vlm
    question: str
    batch: int
    names: Mapping[str, str]
    others: Collection[str]
    common: Collection[str]
    unnamed: str = ""

    def landed(self, images: Sequence[Image], concepts: Sequence[str], layout: Layout, shift: Tensor) -> Landed:
        """Who images of these concepts are, to the model, once their features are moved by `shift` (image, d).

        Images of concepts that it does not know do not count.
        """
        asked = [place for place, name in enumerate(concepts) if name in self.names]
        if not asked:
            return Landed(0.0, 0.0)
        said = self.answers([images[place] for place in asked], layout, shift[asked])
        own = [says(answer, self.names[concepts[at]], self.common) for answer, at in zip(said, asked, strict=True)]
        others = [any(says(answer, name, self.common) for name in self.others) for answer in said]
        wrong = [other and not mine for other, mine in zip(others, own, strict=True)]
        return Landed(sum(own) / len(said), sum(wrong) / len(said))

    def unnaming(
        self,
        images: Sequence[Image],
        concepts: Sequence[str],
        layout: Layout,
        start: Tensor,
        unit: float,
        enough: float,
    ) -> Tensor:
        """Shifts (image, d) near those of `start` with which the model no longer names the images of these concepts.

        From there, along the slopes of the answer `unnamed`, until each image gets it; by Adam in steps of a share of
        `unit`. Images of one concept share what is added, so that it holds for other photos too, and it must hold from
        the share `enough` of the way on.
        """
        number = {name: place for place, name in enumerate(sorted(set(concepts)))}
        member = torch.tensor([number[name] for name in concepts])
        device = self.whole.device
        found = torch.zeros(len(number), start.shape[1], device=device, requires_grad=True)
        start = start.to(device)
        optimizer = torch.optim.Adam([found], lr=STEP * unit)
        generator = Generator().manual_seed(0)
        for _ in steps("looking for a goal", range(STEPS)):
            drawn = torch.randperm(len(images), generator=generator)[: self.batch].tolist()
            way = enough + (1 - enough) * torch.rand(len(drawn), 1, generator=generator).to(device)
            with torch.enable_grad():
                shift = way * (start[drawn] + found[member[drawn]])
                loss = self._named([images[i] for i in drawn], layout, shift)
                if loss.max() < SURE:
                    break
                optimizer.zero_grad()
                loss.mean().backward()
            optimizer.step()
        return (start + found.detach()[member]).cpu()

    def _named(self, images: Sequence[Image], layout: Layout, shift: Tensor) -> Tensor:
        """(image,) nats: how far the model is from not naming images whose features are moved."""
        with changed_features(self.whole.model, image_inputs(self.whole.processor, images), _mover(layout, shift)):
            questions = [(image, self.question) for image in images]
            likely, ids, real = answer_log_probabilities(self.whole, questions, [self.unnamed] * len(images))
        sure: Tensor = (likely.gather(2, ids[..., None])[..., 0] * real).sum(1)
        return -sure

    def answers(self, images: Sequence[Image], layout: Layout, shift: Tensor) -> list[str]:
        """What the model says of images whose features are moved by `shift` (image, d) vectors of the layout."""
        found = list[str]()
        for start in steps("looking for a goal", range(0, len(images), self.batch)):
            part = images[start : start + self.batch]
            moved = shift[start : start + self.batch].to(self.whole.device)
            with changed_features(self.whole.model, image_inputs(self.whole.processor, part), _mover(layout, moved)):
                found += say(self.whole, [(image, self.question) for image in part], TOKENS)
        return found

    def slopes(self, pictures: Sequence[Path | Image], layout: Layout, seed: int = 0) -> Tensor:
        """(2 x image, d) float32: the slopes of the model's own answers by the vectors of a layout without a basis.

        Of each image's answer: how much likelier its tokens are than the second best, and how likely tokens are that
        are drawn in their place. Each row has the length 1, or 0 where nothing is read. A few pictures are open at a
        time, no larger than the processor has a use for.
        """
        generator = Generator().manual_seed(seed)
        side, rows = enough(self.whole.processor, largest(pictures), LARGEST), list[Tensor]()
        for start in steps("reading answers", range(0, len(pictures), self.batch)):
            images = [shrunk(open_image(picture), side) for picture in pictures[start : start + self.batch]]
            rows.append(self._slopes(images, layout, generator))
        found = torch.cat(rows)
        unit: Tensor = found / found.norm(dim=1, keepdim=True).clamp(min=torch.finfo(found.dtype).tiny)
        return unit

    def _slopes(self, images: Sequence[Image], layout: Layout, generator: Generator) -> Tensor:
        questions = [(image, self.question) for image in images]
        answers = say(self.whole, questions, TOKENS)
        moved = torch.zeros(len(images), layout.width, device=self.whole.device, requires_grad=True)
        inputs = image_inputs(self.whole.processor, images)
        with torch.enable_grad(), changed_features(self.whole.model, inputs, _mover(layout, moved)):
            likely, _, real = answer_log_probabilities(self.whole, questions, answers)
            best = likely.topk(2).values
            each = likely.detach().exp().flatten(0, 1).cpu()
            drawn = torch.multinomial(each, 1, generator=generator).to(likely.device)
            margin = ((best[..., 0] - best[..., 1]) * real).sum()
            chosen = (likely.gather(2, drawn.view(*real.shape, 1))[..., 0] * real).sum()
            first: Tensor = torch.autograd.grad(margin, moved, retain_graph=True)[0]
            second: Tensor = torch.autograd.grad(chosen, moved)[0]
        return torch.cat([first, second]).cpu()


def _mover(layout: Layout, shift: Tensor) -> Change:
    here = layout.to(shift.device)

    def moved(features: Features) -> Features:
        return here.shifted(features, shift)

    return moved


def read_directions(slopes: Tensor, most: int) -> Tensor:
    """Orthonormal rows (k, d), k <= `most`: the leading directions of slopes (n, d), the strongest first.

    Raises InputError where all slopes are zero.
    """
    sizes, directions = torch.linalg.svd(slopes, full_matrices=False)[1:]
    if not sizes.max() > 0:
        raise InputError("no answer of the model depends on the photos; it is damaged, or --ask never does without it.")
    kept = sizes > sizes.max() * torch.finfo(slopes.dtype).eps * max(slopes.shape)
    found: Tensor = directions[kept][:most]
    return found
