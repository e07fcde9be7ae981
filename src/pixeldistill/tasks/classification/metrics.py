"""Metrics of classification."""

import torch
import torch.nn.functional as F
from torch import Tensor


def classification_metrics(logits: Tensor, target: Tensor) -> dict[str, float | list[float | None]]:
    """Measure predictions.

    Args:
        logits: (N, classes).
        target: class indices (N,).

    Returns:
        top1, top5 (1 if there are five classes or fewer), nll in nats, calibration_error (expected, 15 bins of equal width),
        all except nll as fractions; per_class, the recall of each class, None for a class without images.
    """
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error  # slow to import

    classes = logits.shape[1]
    probabilities = logits.float().softmax(dim=1)
    counts = torch.bincount(target, minlength=classes)
    found = torch.bincount(target[probabilities.argmax(dim=1) == target], minlength=classes)
    return {
        "top1": multiclass_accuracy(probabilities, target, classes, average="micro").item(),
        "top5": multiclass_accuracy(probabilities, target, classes, average="micro", top_k=min(5, classes)).item(),
        "nll": F.cross_entropy(logits.float(), target).item(),
        "calibration_error": multiclass_calibration_error(probabilities, target, classes, n_bins=15).item(),
        "per_class": [f / n if n else None for f, n in zip(found.tolist(), counts.tolist(), strict=True)],
    }
