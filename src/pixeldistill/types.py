"""What flows through a step: views of a batch in, outputs of a network out, and the shapes of both as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


class View(NamedTuple):
    """One network's view of a batch.

    `image` is (N, 3, H, W), RGB, float in [0, 1], not normalised: each network normalises for itself.
    `target` holds class indices (N,), or class probabilities (N, classes).
    """

    image: Tensor
    target: Tensor


class Outputs(NamedTuple):
    """What a network says of a view.

    `prediction`: logits (N, classes). `input_feature`: what its input module gives, (N, C, h, w).
    `features`: its maps from early to late, each (N, C, h, w).
    """

    prediction: Tensor
    input_feature: Tensor
    features: tuple[Tensor, ...]


class Batch(NamedTuple):
    """One student's share of a step.

    `views`: keyed by role ("teacher", "student"), since two roles may share a side; a role that no term looks at is left out.
    `teacher`: what the teacher says of its view, computed once for all students of a pass, or read from a bank: its prediction,
    and of its maps those that the student's terms want; the others, and its input feature, are empty.
    `epoch`: how far the training is, counted in epochs from 0, with its fraction.
    """

    views: Mapping[str, View]
    teacher: Outputs | None = None
    epoch: float = 0.0


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
    """The shapes of a network's outputs at its image size: all that a term needs to know to build its adapters."""

    image_size: tuple[int, int]
    classes: int
    input_feature: MapSpec
    features: tuple[MapSpec, ...]
