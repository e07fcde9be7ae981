"""Predictions of image files, in any runtime. No torch."""

from pathlib import Path
from typing import NamedTuple


class ClassificationResult(NamedTuple):
    """Likeliest classes of an image with their probabilities, best first, or the reason why it could not be read."""

    path: Path
    classes: tuple[tuple[str, float], ...]
    error: str | None = None


class DetectedObject(NamedTuple):
    """An object: its class, its probability, its box x0, y0, x1, y1 in pixels of the upright original."""

    name: str
    probability: float
    box: tuple[float, float, float, float]


class DetectionResult(NamedTuple):
    """Objects found in an image, the likeliest first, or the reason why it could not be read."""

    path: Path
    objects: tuple[DetectedObject, ...]
    error: str | None = None
