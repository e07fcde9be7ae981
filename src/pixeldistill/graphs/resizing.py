"""Antialiased resize as part of an ONNX graph, the same in every runtime: two products with small matrices.

A runtime's own `Resize` may ignore `antialias` without an error. Here sizes are whole numbers, which all runtimes round alike,
and the weights are fractions of whole numbers.
"""

from typing import Any

import onnx_ir as ir

from pixeldistill.graphs.assemble import Ops
from pixeldistill.recipe.camera import Camera

Value = Any  # value of an ONNX graph under construction


def image_lengths(ops: Ops, image: Value) -> tuple[Value, Value, Value]:
    """Return height and width of images (N, H, W, 3), int64 (2,), and the shorter and the longer of them, int64 (1,) each."""
    lengths = ops.Slice(ops.Shape(image), [1], [3])
    return lengths, ops.ReduceMin(lengths, keepdims=1), ops.ReduceMax(lengths, keepdims=1)


def quotient(ops: Ops, above: Value, below: Value) -> Value:
    """Divide whole numbers and round to the nearest. Halves are rounded to even, as in Python."""
    floor = ops.Div(above, below)
    twice = ops.Mul(ops.Sub(above, ops.Mul(floor, below)), 2)
    half_of_odd = ops.And(ops.Equal(twice, below), ops.Equal(ops.Mod(floor, 2), 1))
    up = ops.Or(ops.Greater(twice, below), half_of_odd)
    return ops.Add(floor, ops.Cast(up, to=ir.DataType.INT64))


def resized(ops: Ops, camera: Camera, image: Value, size: Value, first: Value, count: Value) -> Value:
    """Resize uint8 images (N, H, W, 3) to a height and width, antialiased. Return a window of the result, uint8 (N, 3, h, w).

    Between the two products the image is rounded to 8 bits, as in Pillow and PyTorch.

    Args:
        ops: operators of the graph.
        camera: camera whose kernel is used.
        image: the images.
        size: height and width of the resized images, int64 (2,).
        first: first row and column of the window, int64 (2,).
        count: height and width of the window, int64 (2,).
    """
    lengths, _, _ = image_lengths(ops, image)
    across = _matrix(ops, camera.kernel, 1, lengths, size, first, count)
    down = _matrix(ops, camera.kernel, 0, lengths, size, first, count)
    levels = ops.Cast(ops.Transpose(image, perm=[0, 3, 1, 2]), to=ir.DataType.FLOAT)
    narrow = _rounded(ops, ops.MatMul(levels, across))
    return ops.Cast(_rounded(ops, ops.MatMul(down, narrow)), to=ir.DataType.UINT8)


def _rounded(ops: Ops, levels: Value) -> Value:
    return ops.Clip(ops.Floor(ops.Add(levels, 0.5)), 0.0, 255.0)


def _matrix(ops: Ops, kernel: str, axis: int, lengths: Value, size: Value, first: Value, count: Value) -> Value:
    """Return the matrix that resizes an axis: (count, old) for the height (0), (old, count) for the width (1).

    The distance of a new pixel j from an old pixel i, in widths of the kernel, is a fraction of whole numbers:
    `((2 j + 1) old - (2 i + 1) new) / (2 max(old, new))`. The weights of a new pixel add up to 1. So pixels outside the image
    have no weight, as in Pillow and PyTorch.
    """
    old, new, begin, length = (ops.Gather(values, [axis]) for values in (lengths, size, first, count))
    start = ops.Add(ops.Mul(begin, 2), 1)
    centres = ops.Range(ops.Squeeze(start), ops.Squeeze(ops.Add(start, ops.Mul(length, 2))), 2)
    pixels = ops.Range(1, ops.Squeeze(ops.Add(ops.Mul(old, 2), 1)), 2)
    new_axis, old_axis = (1, 0) if axis == 0 else (0, 1)
    to = ops.Unsqueeze(ops.Mul(centres, old), [new_axis])
    come = ops.Unsqueeze(ops.Mul(pixels, new), [old_axis])
    apart = ops.Sub(to, come)
    width = ops.Mul(ops.Max(old, new), 2)
    distance = ops.Abs(ops.Div(ops.Cast(apart, to=ir.DataType.FLOAT), ops.Cast(width, to=ir.DataType.FLOAT)))
    weights = _bilinear(ops, distance) if kernel == "bilinear" else _bicubic(ops, distance)
    return ops.Div(weights, ops.ReduceSum(weights, [new_axis], keepdims=1))


def _bilinear(ops: Ops, x: Value) -> Value:
    return ops.Relu(ops.Sub(1.0, x))


def _bicubic(ops: Ops, x: Value) -> Value:
    """Return Keys' kernel with a = -0.5, as in Pillow and PyTorch (antialiased)."""
    near = ops.Add(ops.Mul(ops.Sub(ops.Mul(x, 1.5), 2.5), ops.Mul(x, x)), 1.0)
    far = ops.Add(ops.Mul(ops.Sub(ops.Mul(ops.Add(ops.Mul(x, -0.5), 2.5), x), 4.0), x), 2.0)
    return ops.Where(ops.Less(x, 1.0), near, ops.Where(ops.Less(x, 2.0), far, 0.0))
