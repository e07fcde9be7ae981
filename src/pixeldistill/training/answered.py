"""What a trained student said of every test image: kept beside its figures, for the report."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pixeldistill.data.boxes import Annotation
from pixeldistill.data.sources import Sample
from pixeldistill.tasks.detection import Detections

ANSWERS = "answers.json"
SURE = 0.3  # objects that are less likely are left out


def describe_answers(
    answers: Tensor | Sequence[Detections], samples: Sequence[Sample], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """List what was said of each image, with what is there.

    Returns:
        Of a classifier `file`, `label`, `predicted`, `probability`. Of a detector `file`, `truth` and `objects`, each with
        `class` and `box` (x0, y0, x1, y1 in pixels of the original), the latter with `probability`.
    """
    if isinstance(answers, Tensor):
        values, indices = answers.softmax(dim=1).max(dim=1)
        told = zip(samples, indices.tolist(), values.tolist(), strict=True)
        return [
            {"file": str(s.path.resolve()), "label": classes[_index(s)], "predicted": classes[i], "probability": round(p, 4)}
            for s, i, p in told
        ]
    return [
        {"file": str(sample.path.resolve()), "truth": _truth(sample, classes), "objects": _objects(found, classes)}
        for sample, found in zip(samples, answers, strict=True)
    ]


def _index(sample: Sample) -> int:
    assert isinstance(sample.label, int)
    return sample.label


def _truth(sample: Sample, classes: Sequence[str]) -> list[dict[str, Any]]:
    assert isinstance(sample.label, Annotation)
    pairs = zip(sample.label.boxes.tolist(), sample.label.labels.tolist(), strict=True)
    return [{"class": classes[label], "box": [round(n, 1) for n in box]} for box, label in pairs]


def _objects(found: Detections, classes: Sequence[str]) -> list[dict[str, Any]]:
    told = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    return [
        {"class": classes[label], "probability": round(score, 4), "box": [round(n, 1) for n in box]}
        for box, score, label in told
        if score >= SURE
    ]
