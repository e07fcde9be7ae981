"""Box of a COCO mask, from polygons or from runs of pixels. No torch."""

import math
from typing import Any

Corners = tuple[float, float, float, float]


def mask_bounds(segmentation: Any) -> Corners | None:  # noqa: ANN401
    """Return the corners x0, y0, x1, y1 of a COCO mask. Return None if it is empty or not a mask.

    Source:
        COCO's format: lists of x, y; or {"size": [h, w], "counts": runs}, down the columns, outside first, as numbers or as
        text.

    >>> mask_bounds([[1, 2, 9, 2, 9, 7]]), mask_bounds({"size": [4, 5], "counts": [5, 2, 2, 2, 9]})
    ((1.0, 2.0, 9.0, 7.0), (1.0, 1.0, 3.0, 3.0))
    """
    if isinstance(segmentation, dict):
        return _bounds_of_runs(segmentation.get("size"), segmentation.get("counts"))
    if not isinstance(segmentation, list):
        return None
    if segmentation and all(isinstance(part, dict) for part in segmentation):
        parts = [bounds for part in segmentation if (bounds := mask_bounds(part))]
        xs0, ys0, xs1, ys1 = zip(*parts, strict=True) if parts else ((), (), (), ())
        return (min(xs0), min(ys0), max(xs1), max(ys1)) if parts else None
    polygons = segmentation if any(isinstance(part, list) for part in segmentation) else [segmentation]
    polygons = [_flat(polygon) for polygon in polygons]
    numbers = [n for polygon in polygons if isinstance(polygon, list) for n in polygon[: len(polygon) // 2 * 2]]
    if not numbers or not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
        return None
    xs, ys = numbers[0::2], numbers[1::2]
    return float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))


def _flat(polygon: Any) -> Any:  # noqa: ANN401
    """Return a polygon's numbers as a flat list, also if they are written as pairs."""
    paired = isinstance(polygon, list) and polygon and all(isinstance(p, list) and len(p) == 2 for p in polygon)
    return [n for pair in polygon for n in pair] if paired else polygon


def _bounds_of_runs(size: Any, counts: Any) -> Corners | None:  # noqa: ANN401
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
        return None
    runs = _runs_of_text(counts) if isinstance(counts, str) else counts
    height, width = size
    if not isinstance(runs, list) or not all(isinstance(n, int) and n >= 0 for n in runs) or sum(runs) > height * width:
        return None
    x0, y0, x1, y1 = width, height, 0, 0
    place = 0
    for number, run in enumerate(runs):
        if number % 2 and run:
            first, last = place, place + run - 1
            x0, x1 = min(x0, first // height), max(x1, last // height + 1)
            whole = first // height < last // height  # a run that goes on in the next column touches both edges
            y0, y1 = min(y0, 0 if whole else first % height), max(y1, height if whole else last % height + 1)
        place += run
    return (float(x0), float(y0), float(x1), float(y1)) if x1 else None


def _runs_of_text(text: str) -> list[int] | None:
    """Read runs that are written as text: numbers in pieces of five bits, from the third on relative to the one two before."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        piece = ord(letter) - 48
        if not 0 <= piece < 64 or shift > 60:
            return None
        value |= (piece & 31) << shift
        shift += 5
        if not piece & 32:  # the last piece of a number
            if piece & 16:
                value |= -1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return None if shift else runs
