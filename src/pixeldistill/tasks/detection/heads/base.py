"""Base of detector heads: how a head is built, and how its boxes are encoded, matched, learned and distilled."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pixeldistill.plugins import load
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.recipe.heads import heads
from pixeldistill.types import BoxMaps, BoxTarget

BACKGROUND, IGNORED = -1, -2  # values for anchors that are not matched with an object

Floats = NDArray[np.float32]


class Head(ABC):
    """A head. All methods are pure functions, and one object serves all detectors with this head.

    "Anchor" means an anchor or a point. A point is the square of one stride around it, so both are four numbers.

    Class variables:

    - `handed`: number of convolutions (of four) after which CrossKD passes the features to the teacher's head.
    - `mimic_weights`: CrossKD's weights of classes and of boxes.
    - `mimic_by_logarithm`: whether CrossKD compares boxes by the logarithm of their IoU, or by GIoU.
    - `overlap`: overlap of two boxes of a class from which the less likely one is dropped.
    """

    handed: ClassVar[int]
    mimic_weights: ClassVar[tuple[float, float]] = (1.0, 1.0)
    mimic_by_logarithm: ClassVar[bool] = False
    overlap: ClassVar[float] = 0.5

    # The network

    @abstractmethod
    def build(self, settings: DetectorSettings, classes: int) -> nn.Module:
        """Return the module in torchvision's layout: `classification_head` and `regression_head`, each with `conv`."""

    def towers(self, head: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
        """Return the convolutions for classes and for boxes, with norms and activations, as lists of modules."""
        parts = cast(Any, head)
        classes, boxes = (
            [module for block in part.conv for module in (block if isinstance(block, nn.Sequential) else [block])]
            for part in (parts.classification_head, parts.regression_head)
        )
        return classes, boxes

    @abstractmethod
    def predict(self, head: nn.Module, classes: Tensor, boxes: Tensor, number: int) -> tuple[Tensor, ...]:
        """Return the output of the last layers for a level's two towers.

        Args:
            head: result of `build`.
            classes: (N, C, H, W), output of the tower of classes.
            boxes: (N, C, H, W), output of the tower of boxes.
            number: number of classes.

        Returns:
            Logits (N, H·W·A, classes), deltas (N, H·W·A, 4), and perhaps the centerness (N, H·W, 1).
        """

    # The boxes

    @abstractmethod
    def cell_shapes(self, settings: DetectorSettings) -> list[tuple[float, float]]:
        """Return (height, width) of the anchors at one place, in strides."""

    @abstractmethod
    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Return boxes (..., 4) relative to anchors (..., 4)."""

    @abstractmethod
    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """Invert `encode`."""

    @abstractmethod
    def move(self, deltas: Tensor, away: Tensor, ratio: float, shapes: Tensor) -> Tensor:
        """Convert boxes relative to the teacher's anchors to boxes relative to the student's anchors.

        Args:
            deltas: (N, h, w, A, 4).
            away: (h, w, 1, 2), offset from the student's places to the teacher's, x and y in the teacher's cells.
            ratio: size of the teacher's cells divided by the student's.
            shapes: (A, 2), width and height of each anchor in strides.
        """

    # Training

    @abstractmethod
    def match(self, levels: Sequence[Tensor], target: BoxTarget) -> Tensor:
        """Match the anchors of all levels, (A', 4) each, with objects: (N, A), an object's number, BACKGROUND or IGNORED."""

    @abstractmethod
    def loss(self, prediction: BoxMaps, target: BoxTarget, anchors: Tensor, matched: Tensor) -> Tensor:
        """Return the loss of a prediction against the objects that its anchors (A, 4) are matched with, a scalar."""

    @abstractmethod
    def weight_sum(self, target: BoxTarget, anchors: Tensor, matched: Tensor) -> Tensor:
        """Return the divisor of CrossKD's sums, a scalar above 0."""

    @abstractmethod
    def mimic(self, ours: Tensor, theirs: Tensor, central: tuple[Tensor, Tensor] | None, weight: Tensor) -> Tensor:
        """Return the distance of two detectors' boxes at the same anchors, a scalar.

        Args:
            ours: (N, A, 4), the student's boxes, relative to its anchors.
            theirs: (N, A, 4), the teacher's boxes, likewise.
            central: the centerness (N, A, 1) of both, for heads that have it.
            weight: (N, A), weight of each anchor.
        """

    # The dry run

    @abstractmethod
    def covers(
        self, boxes: Floats, grid: NDArray[np.int64], settings: DetectorSettings, number: int, ends: tuple[int, int]
    ) -> NDArray[np.bool_]:
        """Return which boxes (M, 4) a level's anchors can be matched with.

        Args:
            boxes: x0, y0, x1, y1 in pixels of the view.
            grid: (M, 2), height and width of the level in each box's view.
            settings: settings of the detector.
            number: number of the level.
            ends: first and last of the levels that objects are matched with.
        """

    @abstractmethod
    def describe(self, settings: DetectorSettings) -> str:
        """Describe the reference of the boxes in words."""


@cache
def head_named(name: str) -> Head:
    """Return a head by its name in recipes."""
    head: Head = load(heads()[name].implementation)()
    return head


def rows(maps: Tensor, values: int) -> Tensor:
    """Reshape maps (N, A·V, H, W) to rows (N, H·W·A, V)."""
    count, _, height, width = maps.shape
    return maps.reshape(count, -1, values, height, width).permute(0, 3, 4, 1, 2).reshape(count, -1, values)


def joined(levels: Sequence[Tensor]) -> Tensor:
    """Join the rows of all levels, (N, A, V), in single precision."""
    return torch.cat(tuple(levels), dim=1).float()


def matched_classes(matched: Tensor, target: BoxTarget, logits: Tensor) -> Tensor:
    """Return the target classes (N, A, classes) of matched anchors, as 0 and 1."""
    labels = torch.where(matched >= 0, target.labels.gather(1, matched.clamp(min=0)), BACKGROUND)
    return (labels.unsqueeze(2) == torch.arange(logits.shape[2], device=logits.device)).to(logits.dtype)


def matched_boxes(matched: Tensor, target: BoxTarget) -> Tensor:
    """Return the box (N, A, 4) that each anchor is matched with. Unmatched anchors get an arbitrary box."""
    return target.boxes.gather(1, matched.clamp(min=0).unsqueeze(2).expand(-1, -1, 4))


def nearest_cells(boxes: Floats, grid: NDArray[np.int64], stride: int) -> NDArray[np.float64]:
    """Return the numbers (x, y) of the cells nearest to the boxes' centres."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.clip(np.round(centres / stride - 0.5), 0, grid[:, ::-1] - 1)
