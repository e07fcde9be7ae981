"""Reading annotations in COCO's JSON. No torch."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pixeldistill.data.formats.annotations import LARGEST, LONGEST, AnnotatedImage, Corners, Object, check_name
from pixeldistill.data.formats.base import SPLITS, ListedData
from pixeldistill.data.formats.masks import mask_bounds
from pixeldistill.display.text import in_words, shown
from pixeldistill.errors import DataError
from pixeldistill.recipe.data import Data
from pixeldistill.storage.files import read_json

Content = Mapping[str, Any]
FEW = 20  # images to find their folder by; some may be missing


def read_coco(data: Data) -> ListedData[AnnotatedImage]:
    """Read every split's file: its images with their objects, and the names of all classes in the order of their numbers.

    An object without a box gets the box of its mask. An object with neither is left out and counted. Splits that number their
    classes differently are matched by the classes' names.

    Raises:
        DataError: a file is not in COCO's format, a category has no name, an object has no image or no category, or an image
            has no file.
    """
    assert data.root is not None
    stated: ListedData[AnnotatedImage] = ListedData({}, [], [])
    numbers: dict[str, int] = {}
    for split in SPLITS:
        if (name := getattr(data, split)) is None:
            continue
        path = data.root / name
        content = _content(path)
        categories = _categories(content, path)
        other = next((c for n, c in categories.items() if numbers.setdefault(c, n) != n), None)
        if other is not None:
            stated.notes.append(f"{split}: other ids of categories than in another split ({other!r}): matched by their names")
        stated.images[split] = _images(content, categories, path, _folder(data, path, content), stated.notes)
    return stated._replace(order=sorted(numbers, key=lambda category: numbers[category]))


def _content(path: Path) -> Content:
    if path.suffix in (".yaml", ".yml"):
        raise DataError(f"data: {path} is no COCO file, but YOLO's perhaps: set data.format to yolo, and data.root to its folder")
    content = read_json(path, DataError, "data: ")
    if isinstance(content, dict) and isinstance(content.get("shapes"), list):
        raise DataError(f"data: {path} is labelme's, not COCO's: set data.format to labelme, and data.root to its folder")
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(key), list) for key in lists):
        raise DataError(f"data: {path} is no COCO file: it needs the lists {', '.join(lists)}")
    if not content["images"]:
        raise DataError(f"data: {path} lists no image")
    return content


def _categories(content: Content, path: Path) -> dict[int, str]:
    found: dict[int, str] = {}
    for category in content["categories"]:
        number, name = _number(_get(category, "id")), _get(category, "name")
        if number is None or not isinstance(name, str) or not name.strip():
            raise DataError(f"data: {path}: category {shown(category)} has no id (a whole number) or no name: give it both")
        check_name(name.strip(), f"{path}: category {number}")
        if number in found:
            raise DataError(f"data: {path}: category {name!r} (id {number}) is there twice")
        found[number] = name.strip()
    used = {number for a in content["annotations"] if (number := _number(_get(a, "category_id"))) is not None}
    return _named_once(found, used, path)


def _named_once(found: Mapping[int, str], used: Collection[int], path: Path) -> dict[int, str]:
    """Leave out a category without objects if another has the same name. Some exports list the project's name this way."""
    chosen: dict[str, int] = {}
    for number, name in found.items():
        if number in used and chosen.get(name) in used:
            both = f"categories {chosen[name]} and {number}"
            raise DataError(f"data: {path}: {both} are both called {name!r}, and both have objects: name one otherwise")
        if chosen.get(name) not in used:
            chosen[name] = number
    return {number: name for name, number in chosen.items()}


def _images(
    content: Content, categories: Mapping[int, str], path: Path, folder: Path, notes: list[str]
) -> list[AnnotatedImage]:  # fmt: skip
    entries = _entries(content, path, folder)
    objects: dict[Any, list[Object]] = {number: [] for number in entries}
    masks, lost = 0, Counter[str]()
    for annotation in content["annotations"]:
        what = f"annotation {shown(_get(annotation, 'id'))}"
        image, category = _get(annotation, "image_id"), _number(_get(annotation, "category_id"))
        if not isinstance(image, int | str) or image not in objects:
            raise DataError(
                f"data: {path}: {what} is of image id {shown(image)}, which is not listed{_other_kind(image, objects)}"
            )
        if category is None or category not in categories:
            stated = _get(annotation, "category_id")
            other = _other_kind(stated, categories) or ": list it in categories"
            raise DataError(f"data: {path}: {what} is of category id {shown(stated)}, which has no name{other}")
        area, crowd = _get(annotation, "area"), _get(annotation, "iscrowd") or 0
        if crowd not in (0, 1):
            raise DataError(f"data: {path}: {what} has iscrowd {shown(crowd)}: expected 0 or 1")
        bounds = _bounds(annotation, f"{path}: {what}")
        if bounds is None:
            lost[what] += 1
            continue
        masks += not _get(annotation, "bbox")
        known = float(area) if isinstance(area, int | float) and 0 < area < LARGEST**2 else None
        objects[image].append(Object(bounds, categories[category], bool(crowd), known))
    if masks:
        notes.append(f"{path}: {in_words(masks, 'box')} taken from masks, as {'it has' if masks == 1 else 'they have'} no bbox")
    if lost:
        notes.append(f"{path}: {in_words(lost.total(), 'object')} without a box left out (the first: {next(iter(lost))})")
    return [AnnotatedImage(file, size, tuple(objects[number]), path) for number, (file, size) in entries.items()]


def _entries(content: Content, path: Path, folder: Path) -> dict[Any, tuple[Path, tuple[int, int] | None]]:
    """List the images by their ids, with their height and width if the file states them."""
    entries: dict[Any, tuple[Path, tuple[int, int] | None]] = {}
    for image in content["images"]:
        number, name, height, width = (_get(image, key) for key in ("id", "file_name", "height", "width"))
        named = isinstance(number, int | str) and isinstance(name, str) and 0 < len(name) < LONGEST and name.isprintable()
        sides = (_number(height), _number(width))
        odd = any(stated and side is None for stated, side in zip((height, width), sides, strict=True))
        if not named or odd or any(side is not None and not 0 <= side < LARGEST for side in sides):
            raise DataError(f"data: {path}: image {shown(image)} needs id, file_name, and height and width as whole numbers")
        if number in entries:
            raise DataError(f"data: {path}: image id {shown(number)} is there twice")
        size = (sides[0], sides[1]) if sides[0] and sides[1] else None  # if unknown or 0, it is read from the image
        entries[number] = (folder / _without_query(name), size)
    return entries


def _without_query(name: str) -> str:
    """Return the file in an address of Label Studio (/data/local-files/?d=images/1.jpg). Return any other name unchanged."""
    return name.partition("?d=")[2] or name


def _number(value: Any) -> int | None:  # noqa: ANN401
    """Return a whole number, also if it is written with a point. Return None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST**2 or value != int(value):
        return None
    return int(value)


def _other_kind(number: Any, known: Iterable[Any]) -> str:  # noqa: ANN401
    """Return a hint if an id exists as another type, such as "1" and 1."""
    alike = next((one for one in known if str(one) == str(number).removesuffix(".0")), None)
    return "" if alike is None else f": {alike!r} is, so write it so"


def _bounds(annotation: Any, where: str) -> Corners | None:  # noqa: ANN401
    """Return an object's box, or that of its mask. Return None if it has neither."""
    box = _get(annotation, "bbox")
    if box is None or box == []:
        return mask_bounds(_get(annotation, "segmentation"))
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(n, int | float) and abs(n) < LARGEST for n in box):
        raise DataError(f"data: {where} has bbox {shown(box)}: expected [x, y, width, height] in pixels")
    x, y, width, height = map(float, box)
    return x, y, x + width, y + height


def _folder(data: Data, path: Path, content: Content) -> Path:
    """Find the folder of a file's images: the first of the usual ones that has some of the first images.

    If none has, return the data's folder. See `data.formats.located`.
    """
    assert data.root is not None
    if data.images:
        return data.root / data.images
    names = [_without_query(str(_get(image, "file_name"))[:LONGEST]) for image in content["images"][:FEW]]
    stem = path.stem.removeprefix("instances_")
    places = [path.parent / stem, data.root / stem, path.parent, data.root, data.root / "images", data.root / "images" / stem]
    for place in dict.fromkeys(places):
        if any((place / name).is_file() for name in names):
            return place
    return data.root


def _get(entry: Any, key: str) -> Any:  # noqa: ANN401
    return entry.get(key) if isinstance(entry, dict) else None
