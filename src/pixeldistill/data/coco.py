"""Reading annotations in COCO's JSON. No torch."""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pixeldistill.data.annotations import LARGEST, LONGEST, Described, Object, check_name
from pixeldistill.errors import DataError
from pixeldistill.inputs import Data

Content = Mapping[str, Any]
FEW = 20  # images by which their folder is found: some may be missing


def read_coco(data: Data) -> tuple[dict[str, list[Described]], list[str]]:
    """Read every split's file: its images with their objects, and the names of all classes in the order of their numbers.

    Raises:
        DataError: a file that is not COCO's, a category without a name, an object of no image or no category, an image without
            a file.
    """
    assert data.root is not None
    described: dict[str, list[Described]] = {}
    order: dict[str, int] = {}
    for split in ("train", "val", "test"):
        if (name := getattr(data, split)) is None:
            continue
        path = data.root / name
        content = _content(path)
        categories = _categories(content, path)
        for number, category in categories.items():
            if order.setdefault(category, number) != number:
                raise DataError(f"data: {path}: category {category!r} has id {number}, in another split {order[category]}")
        described[split] = _images(content, categories, path, _folder(data, path, content))
    return described, sorted(order, key=lambda category: order[category])


def _content(path: Path) -> Content:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise DataError(f"data: {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"data: {path} is not JSON: {error}") from error
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in lists):
        raise DataError(f"data: {path} is no COCO file: it needs the lists {', '.join(lists)}")
    if not content["images"]:
        raise DataError(f"data: {path} lists no image")
    return content


def _categories(content: Content, path: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    for category in content["categories"]:
        number, name = _get(category, "id"), _get(category, "name")
        if not isinstance(number, int) or not isinstance(name, str) or not name.strip():
            raise DataError(f"data: {path}: category {category} has no id (a whole number) or no name: give it both")
        check_name(name.strip(), f"{path}: category {number}")
        if number in found:
            raise DataError(f"data: {path}: category {name!r} (id {number}) is there twice")
        found[number] = name.strip()
    used = {number for a in content["annotations"] if isinstance(number := _get(a, "category_id"), int)}
    return _named_once(found, used, path)


def _named_once(found: Mapping[int, str], used: Collection[int], path: Path) -> dict[int, str]:
    """Leave out a category whose name another has, if nothing is of it: exports list a project's own name so."""
    chosen: dict[str, int] = {}
    for number, name in found.items():
        if number in used and chosen.get(name) in used:
            both = f"categories {chosen[name]} and {number}"
            raise DataError(f"data: {path}: {both} are both called {name!r}, and both have objects: name one otherwise")
        if chosen.get(name) not in used:
            chosen[name] = number
    return {number: name for name, number in chosen.items()}


def _images(content: Content, categories: Mapping[int, str], path: Path, folder: Path) -> list[Described]:
    objects: dict[Any, list[Object]] = {}
    entries: dict[Any, tuple[Path, tuple[int, int]]] = {}
    for image in content["images"]:
        number, name, height, width = (_get(image, key) for key in ("id", "file_name", "height", "width"))
        named = isinstance(number, int | str) and isinstance(name, str) and 0 < len(name) < LONGEST and name.isprintable()
        if not named or not all(isinstance(n, int) and 0 < n < LARGEST for n in (height, width)):
            raise DataError(f"data: {path}: image {image} needs id, file_name, and height and width as whole numbers")
        if number in objects:
            raise DataError(f"data: {path}: image id {number} is there twice")
        objects[number], entries[number] = [], (folder / name, (height, width))
    for annotation in content["annotations"]:
        what = f"annotation {_get(annotation, 'id')}"
        image, category = _get(annotation, "image_id"), _get(annotation, "category_id")
        if not isinstance(image, int | str) or image not in objects:
            raise DataError(f"data: {path}: {what} is of image id {image!r}, which is not listed{_other_kind(image, objects)}")
        if not isinstance(category, int) or category not in categories:
            other = _other_kind(category, categories) or ": list it in categories"
            raise DataError(f"data: {path}: {what} is of category id {category!r}, which has no name{other}")
        area, crowd = _get(annotation, "area"), _get(annotation, "iscrowd") or 0
        if crowd not in (0, 1):
            raise DataError(f"data: {path}: {what} has iscrowd {crowd!r}: expected 0 or 1")
        objects[image].append(
            Object(
                _corners(_get(annotation, "bbox"), f"{path}: {what}"), categories[category], bool(crowd),
                float(area) if isinstance(area, int | float) and 0 < area < LARGEST**2 else None,
            )
        )  # fmt: skip
    return [Described(file, size, tuple(objects[number]), path) for number, (file, size) in entries.items()]


def _other_kind(number: Any, known: Iterable[Any]) -> str:  # noqa: ANN401
    """Say that an id is there as another kind of value: "1" is not 1, nor is 1.0."""
    alike = next((one for one in known if str(one) == str(number).removesuffix(".0")), None)
    return "" if alike is None else f": {alike!r} is, so write it so"


def _corners(box: Any, where: str) -> tuple[float, float, float, float]:  # noqa: ANN401
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(n, int | float) and abs(n) < LARGEST for n in box):
        raise DataError(f"data: {where} has bbox {box}: expected [x, y, width, height] in pixels")
    x, y, width, height = map(float, box)
    return x, y, x + width, y + height


def _folder(data: Data, path: Path, content: Content) -> Path:
    """Find the folder in which a file's images are: the first of the usual ones that has some of the first images."""
    assert data.root is not None
    if data.images:
        return data.root / data.images
    names = [str(_get(image, "file_name"))[:LONGEST] for image in content["images"][:FEW]]
    stem = path.stem.removeprefix("instances_")
    places = [path.parent / stem, data.root / stem, path.parent, data.root, data.root / "images", data.root / "images" / stem]
    for place in dict.fromkeys(places):
        if any((place / name).is_file() for name in names):
            return place
    looked = ", ".join(str(place) for place in dict.fromkeys(places))
    some = ", ".join(map(repr, names[:3]))
    raise DataError(f"data: {path}: none of its first images ({some}) is in {looked}: name their folder as data.images")


def _get(entry: Any, key: str) -> Any:  # noqa: ANN401
    return entry.get(key) if isinstance(entry, dict) else None
