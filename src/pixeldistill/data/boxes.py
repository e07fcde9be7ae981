"""Boxes of annotated objects, and the boxes that a crop shows. No torch."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixeldistill.data.crops import Crop

VISIBLE = 0.25
MIN_PIXELS = 1.0  # a box with a shorter side is dropped

Floats = NDArray[np.float32]


class Annotation(NamedTuple):
    """Objects of an image, in pixels of the upright original.

    `boxes`: (M, 4), x0, y0, x1, y1. `labels`: (M,) class indices. `areas`: (M,) in square pixels, as the data states them (a
    mask's may be smaller than its box). `crowd`: (M,), objects that are not learned from; a detection of one is no mistake
    (COCO's crowds, VOC's difficult ones). `size`: height and width of the image. `difficult`: (M,), the crowds that are single
    objects, which a detection must overlap like any other object; empty means none.
    """

    boxes: Floats
    labels: NDArray[np.int64]
    areas: Floats
    crowd: NDArray[np.bool_]
    size: tuple[int, int]
    difficult: NDArray[np.bool_] = np.zeros(0, bool)

    def classes(self) -> list[int]:
        """Return the class of every object that is learned from."""
        return [int(number) for number in self.labels[~self.crowd]]

    def content(self) -> tuple[object, ...]:
        """Return the annotations as plain data, to compare or hash."""
        told = (self.boxes, self.labels, self.areas, self.crowd, self.difficult)
        return (*(values.tolist() for values in told), self.size)

    @property
    def ignored(self) -> NDArray[np.bool_]:
        """Mask of the objects that are difficult and single."""
        return self.difficult if len(self.difficult) else np.zeros(len(self.boxes), bool)


def through_crop(
    annotation: Annotation, crop: Crop, of: tuple[int, int], crop_size: int, visible: float = VISIBLE
) -> tuple[Floats, NDArray[np.int64]]:
    """Return the boxes (K, 4) and labels (K,) that a view of a crop shows, in the view's pixels, without crowds.

    Args:
        annotation: objects of the whole image.
        crop: crop of a copy of the image. The copy has the size `of`.
        of: height and width of that copy.
        crop_size: size of the square view that the crop is resized to.
        visible: a box that keeps less than this share of its area is dropped. Other boxes are cut at the crop's edge.

    >>> box, area = np.array([[0, 0, 20, 10]], np.float32), np.ones(1, np.float32)
    >>> one = Annotation(box, np.array([3]), area, np.zeros(1, bool), (40, 40))
    >>> through_crop(one, Crop(0, 10, 20, 20, True), (40, 40), 40)
    (array([[20.,  0., 40., 20.]], dtype=float32), array([3]))
    """
    kept = ~annotation.crowd
    scale = np.array([of[1], of[0]] * 2) / np.array([annotation.size[1], annotation.size[0]] * 2)
    corner, extent = np.array([crop.left, crop.top] * 2), np.array([crop.width, crop.height] * 2)
    whole = (annotation.boxes[kept] * scale - corner) / extent * crop_size
    seen = whole.clip(0, crop_size)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (seen, whole)]
    enough = (areas[0] >= visible * areas[1]) & ((seen[:, 2:] - seen[:, :2]) >= MIN_PIXELS).all(axis=1)
    boxes = seen[enough]
    if crop.flip:
        boxes = np.stack([crop_size - boxes[:, 2], boxes[:, 1], crop_size - boxes[:, 0], boxes[:, 3]], axis=1)
    return boxes.astype(np.float32), annotation.labels[kept][enough]


def clip_boxes(boxes: Floats, size: tuple[int, int]) -> tuple[Floats, NDArray[np.bool_]]:
    """Cut boxes (M, 4) at the edge of an image of a given size. Return them, and which of them are still boxes."""
    height, width = size
    clipped = boxes.clip(0, np.array([width, height] * 2, np.float32))
    return clipped, ((clipped[:, 2:] - clipped[:, :2]) >= MIN_PIXELS).all(axis=1)
