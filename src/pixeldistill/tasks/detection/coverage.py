"""Coverage: the training boxes that a detector's anchors or points can be matched with, checked before training."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from pixeldistill.data.boxes import Annotation
from pixeldistill.data.splits import Sample, load_splits
from pixeldistill.data.views import whole_size
from pixeldistill.errors import DataError
from pixeldistill.recipe.base import StageRef
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.recipe.heads import heads
from pixeldistill.recipe.levels import pair_levels
from pixeldistill.recipe.losses import SupervisedTerm
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.stage import Stage
from pixeldistill.tasks.detection.anchors import coverage

LOW = 0.5


def describe_coverage(recipe: Recipe, stages: Sequence[Stage]) -> list[str]:
    """Return the share of training boxes that anchors (or points) of every detector cover, at its image size and on its levels.

    For a teacher, only the levels that it shares with its student count. Objects that no anchor covers can hardly be learned.
    """
    try:
        samples = load_splits(recipe.data).train
    except DataError:
        return []
    alike: dict[_Covering, list[str]] = {}
    for stage in stages:
        for name, covering in _shared_levels(stage, {s.name: s for s in stages}):
            if covering.levels:
                alike.setdefault(covering, []).append(name)
    lines = []
    for covering, names in alike.items():
        share = coverage(*view_boxes(samples, covering.image_size), covering.settings, covering.levels, covering.ends)
        anchored = heads()[covering.settings.head].anchored
        other = "`levels` or `anchor`" if anchored else "`levels`"
        low = f" (low: the others are too small or too large; choose other {other})" if share < LOW else ""
        where = f"{', '.join(dict.fromkeys(names))} at {covering.image_size}, P{covering.levels[0]}–P{covering.levels[-1]}"
        lines.append(f"{where}: {'anchors cover' if anchored else 'points answer for'} {share:.0%} of train's boxes{low}")
    return lines


class _Covering(NamedTuple):
    """Levels of a detector whose anchors may cover boxes.

    `ends`: first and last of the shared levels that it was trained with, if any.
    """

    image_size: int
    settings: DetectorSettings
    levels: tuple[int, ...]
    ends: tuple[int, int] | None


def _shared_levels(stage: Stage, stages: Mapping[str, Stage]) -> Iterator[tuple[str, _Covering]]:
    """Yield a stage's detectors with their levels. For its teacher, these are the levels that correspond to the student's."""
    student, teacher = stage.student, stage.teacher
    yield stage.name, _Covering(student.image_size, student.scaled_detector, student.scaled_detector.numbers, None)
    if teacher:
        numbers = teacher.scaled_detector.numbers
        pairs = pair_levels(student.scaled_detector.numbers, student.image_size, numbers, teacher.image_size)
        trained = stages.get(teacher.weights.name) if isinstance(teacher.weights, StageRef) else None
        told = next((term.shared_levels for term in trained.terms if isinstance(term, SupervisedTerm)), None) if trained else None
        met = tuple(numbers[pair.teacher] for pair in pairs)
        yield f"{stage.name}'s teacher", _Covering(teacher.image_size, teacher.scaled_detector, met, told)


def view_boxes(samples: Sequence[Sample], image_size: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return all boxes (M, 4) of some images, in their views at an image size, and the size (M, 2) of each box's view."""
    boxes, sizes = [np.zeros((0, 4), np.float32)], [np.zeros((0, 2), np.int64)]
    for sample in samples:
        annotation = cast(Annotation, sample.label)
        kept = annotation.boxes[~annotation.crowd]
        view = whole_size(*annotation.size, image_size)
        scale = np.array([view[1], view[0]] * 2) / np.array([annotation.size[1], annotation.size[0]] * 2)
        boxes.append((kept * scale).astype(np.float32))
        sizes.append(np.tile(np.array(view), (len(kept), 1)))
    return np.concatenate(boxes), np.concatenate(sizes)
