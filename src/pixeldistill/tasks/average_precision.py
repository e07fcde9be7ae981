"""Average precision of detections by COCO's rules, in pixels of the original images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from pixeldistill.data.boxes import Annotation

NAMES = ("map", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")

Found = tuple[Tensor, Tensor, Tensor]  # boxes (K, 4), scores (K,), class indices (K,)


def average_precision(found: Sequence[Found], annotations: Sequence[Annotation], classes: int) -> dict[str, Any]:
    """Measure what was found in images.

    Args:
        found: of each image, boxes in pixels of the original, the likeliest first.
        annotations: what is there.
        classes: how many there are.

    Returns:
        map (over overlaps of 0.5 to 0.95), ap50, ap75, ap_small, ap_medium, ap_large (objects under 32², to 96², over 96² pixels
        of the original) as fractions, None where the images have no such object; per_class, the map of each class.

    Source:
        COCO's evaluation, by faster-coco-eval. A detection on a crowd is no mistake; VOC's difficult objects are treated so.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(_truth(annotations, classes))
    results = [
        {"image_id": i, "category_id": label, "bbox": [x0, y0, x1 - x0, y1 - y0], "score": score}
        for i, (boxes, scores, labels) in enumerate(found, start=1)
        for (x0, y0, x1, y1), score, label in zip(boxes.tolist(), scores.tolist(), labels.tolist(), strict=True)
    ]
    evaluation = COCOeval_faster(truth, truth.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]  # overlaps, recalls, classes
    figures = {name: _known(value) for name, value in zip(NAMES, evaluation.stats[: len(NAMES)], strict=True)}
    return figures | {"per_class": [_mean(precision[:, :, k]) for k in range(classes)]}


def _truth(annotations: Sequence[Annotation], classes: int) -> Mapping[str, Any]:
    content: dict[str, Any] = {
        "images": [{"id": i, "height": a.size[0], "width": a.size[1]} for i, a in enumerate(annotations, start=1)],
        "categories": [{"id": i, "name": str(i)} for i in range(classes)],
        "annotations": [],
    }
    for i, annotation in enumerate(annotations, start=1):
        for box, label, area, crowd in zip(*annotation[:4], strict=True):
            x0, y0, x1, y1 = (float(n) for n in box)
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1, "image_id": i, "category_id": int(label),
                    "bbox": [x0, y0, x1 - x0, y1 - y0], "area": float(area), "iscrowd": int(crowd),
                }
            )  # fmt: skip
    return content


def _known(value: float) -> float | None:
    return None if value < 0 else float(value)


def _mean(precision: Any) -> float | None:  # noqa: ANN401
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None
