"""What flows through a step: views of a batch in, outputs of a network out, and the shapes of both as data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from torch import Tensor

from pixeldistill.recipe.detector import DetectorSettings


class BoxTarget(NamedTuple):
    """The objects in a batch of views.

    `boxes`: (N, M, 4), x0, y0, x1, y1 in the view's pixels. `labels`: (N, M) class indices, -1 where an image has fewer than M.
    `counts`: how many each image has, where that is known without asking the device.
    """

    boxes: Tensor
    labels: Tensor
    counts: tuple[int, ...] = ()

    def images(self) -> Iterator["BoxTarget"]:
        """Return the images one by one, without the places that stay empty."""
        for i in range(len(self.labels)):
            count = max(1, self.counts[i]) if self.counts else self.labels.shape[1]
            yield BoxTarget(self.boxes[i : i + 1, :count], self.labels[i : i + 1, :count])


class BoxMaps(NamedTuple):
    """What a detector predicts: of every level, for its anchors (or points) row by row, those of one place together.

    `logits`: (N, H·W·A, classes). `deltas`: (N, H·W·A, 4), the boxes relative to the anchors. `centerness`: (N, H·W·A, 1) logits,
    of detectors by points; else none.
    """

    logits: tuple[Tensor, ...]
    deltas: tuple[Tensor, ...]
    centerness: tuple[Tensor, ...] = ()


def collect(levels: Sequence[tuple[Tensor, ...]]) -> BoxMaps:
    """Put the maps of single levels (logits, deltas, perhaps centerness) together."""
    return BoxMaps(*(tuple(parts) for parts in zip(*levels, strict=True)))


class View(NamedTuple):
    """One network's view of a batch.

    `image` is (N, 3, H, W), RGB, float in [0, 1], not normalised: each network normalises for itself.
    `target` holds class indices (N,), or class probabilities (N, classes), or the objects in it.
    """

    image: Tensor
    target: Tensor | BoxTarget

    @property
    def labels(self) -> Tensor:
        """The target of a classifier."""
        return cast(Tensor, self.target)

    @property
    def objects(self) -> BoxTarget:
        """The target of a detector."""
        return cast(BoxTarget, self.target)


class Outputs(NamedTuple):
    """What a network says of a view.

    `prediction`: logits (N, classes), or a detector's maps. `input_feature`: what its input module gives, (N, C, h, w).
    `features`: its maps from early to late (of a detector: its pyramid's levels), each (N, C, h, w). `towers`: of a detector,
    what its head's first convolutions have made of each level, for classes and for boxes: see `Detector.begin`.
    """

    prediction: Tensor | BoxMaps
    input_feature: Tensor
    features: tuple[Tensor, ...]
    towers: tuple[tuple[Tensor, Tensor], ...] = ()

    @property
    def logits(self) -> Tensor:
        """A classifier's prediction."""
        return cast(Tensor, self.prediction)

    @property
    def boxes(self) -> BoxMaps:
        """A detector's prediction."""
        return cast(BoxMaps, self.prediction)


class Batch(NamedTuple):
    """One student's share of a step.

    `views`: keyed by role ("teacher", "student"), since two roles may share a size; a role that no term looks at is left out.
    `teacher`: what the teacher says of its view, computed once for all students of a pass, or read from its cache: its
    prediction, and of its maps those that the student's terms want; the others, and its input feature, are empty.
    `epoch`: how far the training is, counted in epochs from 0, with its fraction.
    `teacher_head`: of a detector that is asked live, what finishes its head from a level's towers: (classes, boxes) → its maps.
    """

    views: Mapping[str, View]
    teacher: Outputs | None = None
    epoch: float = 0.0
    teacher_head: Callable[[Tensor, Tensor], tuple[Tensor, ...]] | None = None


class WantedMap(NamedTuple):
    """A map that terms ask of the teacher: its number, and the size to which it may be average-pooled."""

    number: int
    height: int
    width: int


class MapSpec(NamedTuple):
    """Shape of a map, without the batch."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels}×{self.height}×{self.width}"


@dataclass(frozen=True)
class FeatureSpec:
    """The shapes of a network's outputs at its image size: all that a term needs to know to build its adapters.

    `task`: what it is trained for. `detector`: of a detector, whose `features` are its pyramid's `levels`, by number.
    `nominal`: the side of the image for which the network would have these maps were it not a control (an image enlarged before
    it, a stem of another stride); by default the image's.
    """

    task: str
    image_size: tuple[int, int]
    classes: int
    input_feature: MapSpec
    features: tuple[MapSpec, ...]
    detector: DetectorSettings | None = None
    levels: tuple[int, ...] = ()
    nominal: int | None = None

    @property
    def nominal_size(self) -> int:
        """See `nominal`."""
        return self.nominal or self.image_size[0]

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """Height and width of every map."""
        return tuple((m.height, m.width) for m in self.features)
