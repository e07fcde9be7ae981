"""Names of a task's metrics, and the main metric of each task. No torch."""

from collections.abc import Mapping
from typing import Any

TITLES = {
    "top1": "top-1", "top5": "top-5", "nll": "NLL (nats)", "calibration_error": "calibration error",
    "map": "mAP", "ap50": "AP50", "voc_ap": "AP of VOC", "ap75": "AP75", "ap_small": "AP small",
    "ap_medium": "AP medium", "ap_large": "AP large",
}  # fmt: skip


def metric_title(name: str) -> str:
    """Return how a metric is called in tables; one that is not known has its own name.

    >>> metric_title("map"), metric_title("closeness")
    ('mAP', 'closeness')
    """
    return TITLES.get(name, name)


def headline(figures: Mapping[str, Any]) -> str:
    """Return the name of the main metric: the first of the figures of a network on a split.

    >>> headline({"top1": 0.5, "top5": 0.9})
    'top1'
    """
    return next(iter(figures))


def decisive(figures: Mapping[str, Any]) -> float:
    """Return the value of the main metric. Return 0 if the images have nothing to find."""
    return float(figures[headline(figures)] or 0.0)
