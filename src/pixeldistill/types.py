"""Data of a training step: the views of a batch, the outputs of a network, and the shapes of both."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from torch import Tensor

from pixeldistill.recipe.detector import DetectorSettings


class BoxTarget(NamedTuple):
    """Objects in a batch of views.

    `boxes`: (N, M, 4), x0, y0, x1, y1 in the view's pixels. `labels`: (N, M) class indices, -1 if an image has fewer than M.
    `counts`: number of objects in each image, if it is known without waiting for the device.
    """

    boxes: Tensor
    labels: Tensor
    counts: tuple[int, ...] = ()

    def images(self) -> Iterator["BoxTarget"]:
        """Return the images one by one, without the empty places."""
        for i in range(len(self.labels)):
            count = max(1, self.counts[i]) if self.counts else self.labels.shape[1]
            yield BoxTarget(self.boxes[i : i + 1, :count], self.labels[i : i + 1, :count])


class BoxMaps(NamedTuple):
    """A detector's prediction: for every level, one row for each anchor (or point), with those of one place together.

    `logits`: (N, H·W·A, classes). `deltas`: (N, H·W·A, 4), the boxes relative to the anchors. `centerness`: (N, H·W·A, 1)
    logits for detectors with points, otherwise empty.
    """

    logits: tuple[Tensor, ...]
    deltas: tuple[Tensor, ...]
    centerness: tuple[Tensor, ...] = ()


def collect(levels: Sequence[tuple[Tensor, ...]]) -> BoxMaps:
    """Join the maps of single levels (logits, deltas, perhaps centerness)."""
    return BoxMaps(*(tuple(parts) for parts in zip(*levels, strict=True)))


class View(NamedTuple):
    """One network's view of a batch.

    `image` is (N, 3, H, W), RGB, float in [0, 1], not normalised, because each network normalises for itself.
    `target` holds class indices (N,), or class probabilities (N, classes), or the objects in the view.
    """

    image: Tensor
    target: Tensor | BoxTarget

    @property
    def labels(self) -> Tensor:
        """Target of a classifier."""
        return cast(Tensor, self.target)

    @property
    def objects(self) -> BoxTarget:
        """Target of a detector."""
        return cast(BoxTarget, self.target)


class Outputs(NamedTuple):
    """A network's outputs for a view.

    `prediction`: logits (N, classes), or a detector's maps. `input_feature`: output of its input module, (N, C, h, w).
    `features`: its maps from early to late (for a detector, its pyramid's levels), each (N, C, h, w). `towers`: for a detector,
    the output of its head's first convolutions for each level, for classes and for boxes, see `Detector.begin`.
    """

    prediction: Tensor | BoxMaps
    input_feature: Tensor
    features: tuple[Tensor, ...]
    towers: tuple[tuple[Tensor, Tensor], ...] = ()

    @property
    def logits(self) -> Tensor:
        """Prediction of a classifier."""
        return cast(Tensor, self.prediction)

    @property
    def boxes(self) -> BoxMaps:
        """Prediction of a detector."""
        return cast(BoxMaps, self.prediction)


class Batch(NamedTuple):
    """One student's share of a step.

    `views`: views by role ("teacher", "student"), because two roles may have the same image size. A role that no term reads is
    left out.
    `teacher`: the teacher's outputs for its view, computed once for all students of a pass, or read from its cache: its
    prediction, and the maps that the student's terms need. The other maps and its input feature are empty.
    `epoch`: progress of the training, counted in epochs from 0, with its fraction.
    `teacher_head`: for a live detector, the function that finishes its head from a level's towers: (classes, boxes) → its maps.
    """

    views: Mapping[str, View]
    teacher: Outputs | None = None
    epoch: float = 0.0
    teacher_head: Callable[[Tensor, Tensor], tuple[Tensor, ...]] | None = None


class WantedMap(NamedTuple):
    """A map that terms need from the teacher: its number, and the size that it may be average-pooled to."""

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
    """Shapes of a network's outputs at its image size. A term needs nothing else to build its adapters.

    `task`: task that it is trained for. `detector`: for a detector, whose `features` are its pyramid's `levels`, by number.
    `nominal`: the image size at which the network would have these maps if it were not a control (an image enlarged before the
    network, a stem with another stride). By default its image size.
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
        """Image size of `nominal`, or by default the network's."""
        return self.nominal or self.image_size[0]

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """Height and width of every map."""
        return tuple((m.height, m.width) for m in self.features)
