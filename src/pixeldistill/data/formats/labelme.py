"""Reading annotations as labelme writes them: a JSON file beside each image. No torch."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

from pixeldistill.data.folders import class_folders
from pixeldistill.data.formats.annotations import LARGEST, LONGEST, AnnotatedImage, Object, check_name
from pixeldistill.data.formats.base import ListedData, split_folders
from pixeldistill.display.text import in_words, shown
from pixeldistill.errors import DataError
from pixeldistill.recipe.data import Data
from pixeldistill.storage.files import read_json

_OUTLINES = ("polygon", "rectangle", "linestrip", "rotation", "mask")


def read_labelme(data: Data) -> ListedData[AnnotatedImage]:
    """Read `root/train/*.json`, with `val` and `test` beside it, or all JSON files below `root` as one pool.

    For an outline, its box is used. Points and lines have no box, so they are left out and counted.

    Raises:
        DataError: there is no JSON file, or a file is not in labelme's format.
    """
    assert data.root is not None
    folders = split_folders(class_folders(data.root)) or {"train": data.root}
    lost: Counter[str] = Counter()
    images: dict[str, list[AnnotatedImage]] = {}
    for split, folder in folders.items():
        files = sorted(folder.rglob("*.json"))
        if not files:
            raise DataError(f"data: {folder} holds no JSON file of labelme's")
        images[split] = [_described(path, lost) for path in files]
    names = {o.name for described in images.values() for image in described for o in image.objects}
    kinds = ", ".join(lost)
    notes = [f"{in_words(lost.total(), 'shape')} without an area left out ({kinds})"] if lost else []
    return ListedData(images, notes, sorted(names), pool=len(images) == 1)


def _described(path: Path, lost: Counter[str]) -> AnnotatedImage:
    content = read_json(path, DataError, "data: ")
    shapes, image = (content.get(key) for key in ("shapes", "imagePath")) if isinstance(content, dict) else (None, None)
    if not isinstance(shapes, list) or not isinstance(image, str) or not image or len(image) > LONGEST or not image.isprintable():
        raise DataError(f"data: {path} is not labelme's: it needs the list `shapes`, and `imagePath`")
    height, width = content.get("imageHeight"), content.get("imageWidth")
    known = all(isinstance(n, int) and 0 < n < LARGEST for n in (height, width))
    objects = [found for shape in shapes if (found := _object(shape, path, lost))]
    return AnnotatedImage(path.parent / image, (height, width) if known else None, tuple(objects), path)


def _object(shape: Any, path: Path, lost: Counter[str]) -> Object | None:  # noqa: ANN401
    name, points, kind = (shape.get(key) for key in ("label", "points", "shape_type")) if isinstance(shape, dict) else (None,) * 3
    if not isinstance(name, str) or not name.strip() or not isinstance(points, list) or not all(map(_is_point, points)):
        raise DataError(f"data: {path} has a shape without a `label` or without `points`: {shown(shape)}")
    check_name(name.strip(), f"{path}: a shape")
    if kind == "circle" and len(points) == 2:
        (x, y), radius = points[0], math.dist(*points)
        return Object((x - radius, y - radius, x + radius, y + radius), name.strip())
    if (kind or "polygon") not in _OUTLINES or len(points) < 2:
        lost[str(kind)[:LONGEST]] += 1
        return None
    xs, ys = zip(*points, strict=True)
    return Object((float(min(xs)), float(min(ys)), float(max(xs)), float(max(ys))), name.strip())


def _is_point(point: Any) -> bool:  # noqa: ANN401
    return isinstance(point, list) and len(point) == 2 and all(isinstance(n, int | float) and abs(n) < LARGEST for n in point)
