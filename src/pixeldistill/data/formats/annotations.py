"""Images with boxes, as readers return them: COCO's JSON, Pascal VOC's XML, generated scenes. No torch.

A reader returns `{split: [AnnotatedImage, ...]}` as the data states it. `boxed_splits` checks the boxes and numbers the
classes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pixeldistill.data.boxes import Annotation, clip_boxes
from pixeldistill.display.text import in_words
from pixeldistill.errors import DataError

LARGEST = 1_000_000  # pixels of a side
LONGEST = 250  # characters of a name
SLACK = 2.0  # pixels that a box may reach over the edge because of rounding
MOST_OUTSIDE = 0.5  # with more than this share of boxes outside, the data uses another convention
FEW = 10  # this many boxes may be odd by chance or by mistake
MANY_CUT = 0.05  # with careful annotation, few boxes reach beyond the edge by more than SLACK
DOUBT = ": so many hint at another convention, such as centres instead of corners"


Corners = tuple[float, float, float, float]  # x0, y0, x1, y1


class Object(NamedTuple):
    """An object as the data states it: its corners in pixels, its class, and `area` if the data has one."""

    box: Corners
    name: str
    crowd: bool = False
    area: float | None = None
    difficult: bool = False


class AnnotatedImage(NamedTuple):
    """An image as the data states it: its file, its height and width, its objects, and the file that states them.

    `size` is None if only the image file has it. `relative` objects have corners as shares of the image's width and height.
    """

    path: Path
    size: tuple[int, int] | None
    objects: tuple[Object, ...]
    source: Path
    relative: bool = False

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width. They must be known."""
        assert self.size is not None
        return self.size


class Boxed(NamedTuple):
    """Images with their annotations, by split. `notes` holds the decisions that were made."""

    samples: dict[str, list[tuple[Path, Annotation]]]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def check_name(name: str, where: str) -> None:
    """Raise DataError if a class's name cannot be printed in one line."""
    if not name.isprintable() or len(name) > LONGEST:
        raise DataError(f"data: {where} has the name {name[:40]!r}, which cannot be printed in a line")


def boxed_splits(described: Mapping[str, Sequence[AnnotatedImage]], order: Sequence[str], said: Sequence[str] = ()) -> Boxed:
    """Check the boxes of all splits, clip them, and number the classes.

    Boxes that reach over the image's edge are cut there. Boxes with less than a pixel inside are left out. Both are counted.

    Args:
        described: images of every split.
        order: names of all classes that the data declares, in its order. Classes without a box are left out.
        said: the reader's notes, for the error message if nothing is left.

    Raises:
        DataError: a class is missing in train, or there is no box.
    """
    learned = {name for image in described["train"] for name in learnable(image)}
    if not learned:
        why = "".join(f"; {note}" for note in said)
        source = described["train"][0].source
        raise DataError(f"data: {source}: the train split has no box that anything could be learned from{why}")
    classes = tuple(name for name in order if name in learned)
    index = {name: i for i, name in enumerate(classes)}
    notes = [f"class {name!r} has no box: left out" for name in order if name not in learned]
    samples: dict[str, list[tuple[Path, Annotation]]] = {}
    for split, images in described.items():
        _check_classes(split, images, index)
        clipped = dropped = total = 0
        samples[split] = []
        for image in images:
            annotation, cut, lost = _annotation(image, index)
            samples[split].append((image.path, annotation))
            clipped, dropped, total = clipped + cut, dropped + lost, total + len(image.objects)
        if clipped or dropped:
            doubtful = clipped > MANY_CUT * total
            notes.append(
                ("warning: " if doubtful else "")
                + f"{split}: {in_words(clipped, 'box')} cut at the image's edge, {dropped} outside or without area left out"
                + (DOUBT if doubtful else "")
            )
        notes += _crowds(split, images)
        empty = sum(not len(annotation.boxes) for _, annotation in samples[split])
        if empty:
            notes.append(f"{split}: {in_words(empty, 'image')} without objects")
    return Boxed(samples, classes, tuple(notes))


def _crowds(split: str, images: Sequence[AnnotatedImage]) -> list[str]:
    """Count the objects that are not learned from. Warn if they are most of a class."""
    total = Counter(o.name for image in images for o in image.objects)
    crowds = Counter(o.name for image in images for o in image.objects if o.crowd)
    if not crowds:
        return []
    note = (
        f"{split}: {crowds.total()} of {in_words(total.total(), 'object')} are crowds or difficult: nothing is learned from them"
    )
    if most := [name for name, count in crowds.items() if 2 * count > total[name]]:
        named = ", ".join(f"{crowds[name]} of {total[name]} {name!r}" for name in most[:3])
        return [f"warning: {note}, {named} among them; set iscrowd to 0 where they are single objects"]
    return [note]


def learnable(image: AnnotatedImage) -> set[str]:
    """Return the names of the classes that have an object to learn from in this image."""
    boxes = np.array([o.box for o in image.objects], np.float32).reshape(-1, 4)
    return {o.name for o, good in zip(image.objects, clip_boxes(boxes, image.sides)[1], strict=True) if good and not o.crowd}


def _check_classes(split: str, images: Sequence[AnnotatedImage], index: Mapping[str, int]) -> None:
    """Raise DataError if a class of val or test has no object in train."""
    unknown: dict[str, AnnotatedImage] = {}
    for image in images:
        unknown |= {o.name: image for o in image.objects if o.name not in index and not o.crowd and o.name not in unknown}
    if unknown:
        first = next(iter(unknown.values()))
        raise DataError(
            f"data: {split} has boxes of {', '.join(map(repr, sorted(unknown)))} ({first.source}, {first.path.name}, "
            f"for example), and train has none: add some to train, or take these boxes out of {split}"
        )


def _annotation(image: AnnotatedImage, index: Mapping[str, int]) -> tuple[Annotation, int, int]:
    """Make an image's annotation. Return it, and the numbers of boxes that were cut and left out."""
    known = [o for o in image.objects if o.name in index]
    boxes = np.array([o.box for o in known], np.float32).reshape(-1, 4)
    cut, good = clip_boxes(boxes, image.sides)
    clipped = int((good & (np.abs(cut - boxes) > SLACK).any(axis=1)).sum())
    extents = cut[:, 2:] - cut[:, :2]
    stated = np.array([np.nan if o.area is None else o.area for o in known], np.float32)
    areas = np.where(np.isnan(stated), extents.prod(axis=1), stated)
    labels = np.array([index[o.name] for o in known], np.int64)
    crowd = np.array([o.crowd for o in known], bool)
    difficult = np.array([o.difficult for o in known], bool)
    annotation = Annotation(cut[good], labels[good], areas[good], crowd[good], image.sides, difficult[good])
    return annotation, clipped, int((~good).sum())


def _is_box(o: Object, size: tuple[int, int]) -> bool:
    return bool(clip_boxes(np.array([o.box], np.float32), size)[1][0])


def check_convention(split: str, images: Sequence[AnnotatedImage]) -> None:
    """Raise DataError if the data's boxes use another convention than the reader expects.

    This is assumed in three cases. Most boxes reach outside, for example as fractions of an image of another size. Or some do,
    and all are larger than their distance from the image's corner, as when two corners were read as a corner and a size. Or
    some do, and several end before they begin, as when a corner and a size were read as two corners.
    """
    total = outside = corners = backwards = 0
    first = None
    for image in images:
        height, width = image.sides
        for o in image.objects:
            x0, y0, x1, y1 = o.box
            total += 1
            corners += x1 - x0 > x0 and y1 - y0 > y0
            backwards += x1 < x0 or y1 < y0
            beyond = x0 < -SLACK or y0 < -SLACK or x1 > width + SLACK or y1 > height + SLACK
            if beyond or not _is_box(o, image.sides):
                outside += 1
                first = first or image
    many = outside > MANY_CUT * total
    if first and (outside > MOST_OUTSIDE * total or (many and (corners == total > FEW or backwards > FEW))):
        raise DataError(
            f"data: {first.source}: {outside} of {total} boxes of {split} reach outside their image or have no area (as in "
            f"{first.path.name}): they are in another convention; COCO's are [x, y, width, height] in pixels, VOC's "
            "corners, YOLO's a centre and a size as shares of the image"
        )
