"""Average precision of detections by COCO's rules and by VOC's, in pixels of the original images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pixeldistill.data.boxes import Annotation

VOC_OVERLAP = 0.5
BEYOND = 1e12  # square pixels: outside all ranges, so COCO ignores these objects without handling them as crowds
NAMES = ("map", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")

FolderListing = tuple[Tensor, Tensor, Tensor]  # boxes (K, 4), scores (K,), class indices (K,)


def average_precision(found: Sequence[FolderListing], annotations: Sequence[Annotation], classes: int) -> dict[str, Any]:
    """Measure the found objects of images.

    Args:
        found: boxes of each image in pixels of the original, the likeliest first.
        annotations: true objects of each image.
        classes: number of classes.

    Returns:
        map (over overlaps of 0.5 to 0.95), ap50, ap75, ap_small, ap_medium, ap_large (objects under 32², to 96², over 96²
        pixels of the original) as fractions, None if the images have no such object; voc_ap, see `voc_average_precision`;
        per_class, the map of each class.

    Source:
        COCO's evaluation, by faster-coco-eval. A detection of a crowd is no mistake. Neither is a detection that overlaps a
        difficult object (VOC's) enough to count for an ordinary object.
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
    figures["voc_ap"] = voc_average_precision(found, annotations, classes)
    return figures | {"per_class": [_mean(precision[:, :, k]) for k in range(classes)]}


def voc_average_precision(found: Sequence[FolderListing], annotations: Sequence[Annotation], classes: int) -> float | None:
    """Return the average precision by VOC's rules: the area under the curve of precision and recall, averaged over the classes.

    A detection is matched with the object of its class that it overlaps most. It is right if this overlap is at least 0.5 and
    no likelier detection has found the object. With this overlap of a difficult object or a crowd, it is neither right nor
    wrong.

    Source:
        Everingham et al., The Pascal Visual Object Classes Challenge, IJCV 2015; precision at every recall, as from 2010 on.
    """
    areas = [area for label in range(classes) if (area := _voc_area(found, annotations, label)) is not None]
    return float(np.mean(areas)) if areas else None


def _voc_area(found: Sequence[FolderListing], annotations: Sequence[Annotation], label: int) -> float | None:
    """Return the area of one class. Return None if the images have no object of it."""
    wanted = sum(int(((a.labels == label) & ~a.crowd).sum()) for a in annotations)
    if not wanted:
        return None
    scores, right, wrong = [np.zeros(0)], [np.zeros(0, bool)], [np.zeros(0, bool)]
    for (boxes, likely, labels), annotation in zip(found, annotations, strict=True):
        mine = (labels == label).numpy()
        order = np.argsort(-likely.numpy()[mine], kind="stable")
        hits = _voc_hits(boxes.numpy()[mine][order], annotation, label)
        scores.append(likely.numpy()[mine][order])
        right.append(hits > 0)
        wrong.append(hits < 0)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    true, false = (np.cumsum(np.concatenate(counts)[order]) for counts in (right, wrong))
    recall, precision = true / wanted, true / np.maximum(true + false, 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * best).sum())


def _voc_hits(boxes: NDArray[np.float32], annotation: Annotation, label: int) -> NDArray[np.int64]:
    """Return for each box, the likeliest first, whether it is right (1), wrong (-1), or neither (0)."""
    truth, ignored = annotation.boxes[annotation.labels == label], annotation.crowd[annotation.labels == label]
    hits = np.full(len(boxes), -1)
    if not len(truth) or not len(boxes):
        return hits
    corner = np.maximum(boxes[:, None, :2], truth[None, :, :2])
    shared = (np.minimum(boxes[:, None, 2:], truth[None, :, 2:]) - corner).clip(0).prod(axis=2)
    areas = [(b[:, 2:] - b[:, :2]).prod(axis=1) for b in (boxes, truth)]
    overlap = shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)
    taken: set[int] = set()
    for i, (best, share) in enumerate(zip(overlap.argmax(axis=1).tolist(), overlap.max(axis=1).tolist(), strict=True)):
        if share >= VOC_OVERLAP and ignored[best]:
            hits[i] = 0
        elif share >= VOC_OVERLAP and best not in taken:
            hits[i] = 1
            taken.add(best)
    return hits


def _truth(annotations: Sequence[Annotation], classes: int) -> Mapping[str, Any]:
    content: dict[str, Any] = {
        "images": [{"id": i, "height": a.size[0], "width": a.size[1]} for i, a in enumerate(annotations, start=1)],
        "categories": [{"id": i, "name": str(i)} for i in range(classes)],
        "annotations": [],
    }
    for i, annotation in enumerate(annotations, start=1):
        for box, label, area, crowd, difficult in zip(*annotation[:4], annotation.ignored, strict=True):
            x0, y0, x1, y1 = (float(n) for n in box)
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1, "image_id": i, "category_id": int(label),
                    "bbox": [x0, y0, x1 - x0, y1 - y0], "area": BEYOND if difficult else float(area),
                    "iscrowd": int(crowd and not difficult),
                }
            )  # fmt: skip
    return content


def _known(value: float) -> float | None:
    return None if value < 0 else float(value)


def _mean(precision: Any) -> float | None:  # noqa: ANN401
    known = precision[precision > -1]
    return float(known.mean()) if known.size else None
