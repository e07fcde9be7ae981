"""Conversion of boxes to and from values relative to anchors and points."""

import math

import torch
from torch import Tensor

MAX_GROWTH = math.log(1000 / 16)  # logarithm of the largest growth of a box over its anchor


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return boxes relative to anchors: shift of the centre in anchor sizes, and logarithm of the growth.

    Args:
        boxes: (..., 4), x0, y0, x1, y1.
        anchors: (..., 4), x0, y0, x1, y1.

    Returns:
        (..., 4), dx, dy, dw, dh.

    Source:
        Girshick et al., R-CNN, CVPR 2014; as in torchvision, with unit weights.
    """
    centre, size = _centre(boxes), boxes[..., 2:] - boxes[..., :2]
    extent = anchors[..., 2:] - anchors[..., :2]
    return torch.cat([(centre - _centre(anchors)) / extent, (size / extent).log()], dim=-1)


def decode_boxes(deltas: Tensor, anchors: Tensor) -> Tensor:
    """Invert `encode_boxes`. The growth is limited to `MAX_GROWTH`.

    Examples:
        >>> anchors, boxes = torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([[1.0, 2, 5, 4]])
        >>> decode_boxes(encode_boxes(boxes, anchors), anchors)
        tensor([[1., 2., 5., 4.]])
    """
    extent = anchors[..., 2:] - anchors[..., :2]
    centre = deltas[..., :2] * extent + _centre(anchors)
    half = deltas[..., 2:].clamp(max=MAX_GROWTH).exp() * extent / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def encode_sides(boxes: Tensor, points: Tensor) -> Tensor:
    """Return the distances from a point to a box's sides, left, top, right, bottom, in strides.

    Args:
        boxes: (..., 4).
        points: (..., 4), as squares of one stride around each point.

    Source:
        Tian et al., FCOS, ICCV 2019; normalised as in torchvision.
    """
    centre, stride = _centre(points), points[..., 2:] - points[..., :2]
    return torch.cat([(centre - boxes[..., :2]) / stride, (boxes[..., 2:] - centre) / stride], dim=-1)


def decode_sides(sides: Tensor, points: Tensor) -> Tensor:
    """Invert `encode_sides`.

    Examples:
        >>> points, boxes = torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([[1.0, 2, 6, 12]])
        >>> decode_sides(encode_sides(boxes, points), points)
        tensor([[ 1.,  2.,  6., 12.]])
    """
    centre, stride = _centre(points), points[..., 2:] - points[..., :2]
    return torch.cat([centre - sides[..., :2] * stride, centre + sides[..., 2:] * stride], dim=-1)


def _centre(boxes: Tensor) -> Tensor:
    return (boxes[..., :2] + boxes[..., 2:]) / 2
