"""Reading boxes in YOLO's format: a text file beside each image, one line for each object. No torch."""

import math
from collections import Counter
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from pixeldistill.data.folders import find_images, merged, passed_notes
from pixeldistill.data.formats.annotations import AnnotatedImage, Corners, Object, check_name
from pixeldistill.data.formats.base import SPLITS, ListedData
from pixeldistill.data.formats.located import locate
from pixeldistill.display.text import in_words, shown
from pixeldistill.errors import DataError, nearest
from pixeldistill.recipe.data import Data
from pixeldistill.storage.files import read_text
from pixeldistill.storage.yaml_files import read_yaml

_FILES = ("data.yaml", "data.yml", "dataset.yaml")
_NAMES = ("classes.txt", "obj.names", "labels.txt")  # used if there is no data.yaml, as labelImg writes
_YAML = (".yaml", ".yml")
_LONGEST = 1_000_000  # characters of a line: an outline of many points


class _Contents(NamedTuple):
    """Classes, folders or lists of files of each split, and the number of keypoint values after a box."""

    names: list[str]
    places: dict[str, list[Path]]
    keypoints: int = 0


def read_yolo(data: Data) -> ListedData[AnnotatedImage]:
    """Read a folder of YOLO.

    The classes are in `data.yaml`, which also says where `train`, `val` and `test` are, or in `classes.txt`.

    Every image has a text file. That of `images/a.jpg` is `labels/a.txt`, or `a.txt` beside the image. Each of its lines is an
    object: `class x y width height` (the box's centre and size) or `class x y x y …` (an outline, which becomes its box).
    Coordinates are shares of the image's width and height. An image without a text file has no objects.

    Raises:
        DataError: there is no data.yaml and no classes.txt, a split is missing, or a line has another form.
    """
    assert data.root is not None
    described = _described_by(data.root)
    names, places, keypoints = _from_yaml(described) if described.suffix in _YAML else _from_list(described)
    stated: ListedData[AnnotatedImage] = ListedData({}, [], names)
    bare, passed = 0, Counter[str]()
    listed: dict[str, list[tuple[Path]]] = {}
    for split, folders in places.items():
        images, more = _images(folders, described)
        if not images:
            raise DataError(f"data: {described}: {split} has no image in {folders[0]}")
        passed = merged([passed, more])
        listed[split] = [(path,) for path in images]
    notes = locate(listed, data.root)  # before the boxes, because the images' paths lead to them
    for split, found in listed.items():
        labels = [_label_file(path) for (path,) in found]
        if not any(labels):
            raise DataError(
                f"data: no image of {split} has a text file with its boxes: {found[0][0]} has none in labels/ or beside it"
            )
        bare += sum(label is None for label in labels)
        stated.images[split] = [
            AnnotatedImage(path, None, _objects(label, names, keypoints), label or described, relative=True)
            for (path,), label in zip(found, labels, strict=True)
        ]
    notes += [f"{in_words(bare, 'image')} without a text file: taken to show no object"] if bare else []
    for suffix in (".txt", *_YAML, ".cache", ".names", ".data"):
        del passed[f"{suffix} files"]
    return stated._replace(notes=notes + passed_notes(passed), pool=len(places) == 1)


def _described_by(root: Path) -> Path:
    found = [root / name for name in (*_FILES, *_NAMES) if (root / name).is_file()]
    found += sorted([*root.glob("*.yaml"), *root.glob("*.yml")]) if not found else []
    if not found:
        raise DataError(f"data: {root} has neither a data.yaml with `names`, `train` and `val`, nor a classes.txt")
    return found[0]


def _from_yaml(path: Path) -> _Contents:
    content = read_yaml(path, DataError, "data: ")
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and set(names) != set(range(len(names))):
        raise DataError(f"data: {path}: names must be numbered 0, 1, 2, …, not {shown(sorted(map(str, names)))}")
    listed = [names[i] for i in range(len(names))] if isinstance(names, dict) else names
    if not isinstance(listed, list) or not listed:
        raise DataError(f"data: {path} has no `names`: list the classes there, as in names: [cat, dog]")
    known = [*SPLITS, "valid", "validation"]
    if odd := next((key for key in map(str, content) if key not in known and get_close_matches(key, known, cutoff=0.8)), None):
        raise DataError(f"data: {path}: unknown key {shown(odd)}, {nearest(odd, known, 1)}")
    base = path.parent / str(content.get("path") or ".")
    base = base if base.is_dir() else path.parent  # written on another machine
    places: dict[str, list[Path]] = {}
    for split, keys in zip(SPLITS, (("train",), ("val", "valid", "validation"), ("test",)), strict=True):
        stated = next((content[key] for key in keys if content.get(key)), None)
        if stated is None:
            continue
        parts = stated if isinstance(stated, list) else [stated]
        found = [_place(str(part), base, path) for part in parts]
        if split == "test" and not any(place.exists() for place in found):
            continue  # Roboflow names a test split even if there is none
        places[split] = found
    if "train" not in places:
        raise DataError(f"data: {path} has no `train`: name the folder of its images there")
    if any(isinstance(name, bool) for name in listed):
        raise DataError(f"data: {path}: names holds a yes, no, on or off, which YAML reads as true or false: put it in quotes")
    shape = content.get("kpt_shape")
    pose = isinstance(shape, list) and len(shape) == 2 and all(isinstance(n, int) and n > 0 for n in shape)
    return _Contents(_checked([str(name) for name in listed], path), places, math.prod(shape) if pose else 0)


def _place(stated: str, base: Path, path: Path) -> Path:
    """Find a folder or list of files that a data.yaml names. Some exports write `../train/images` and mean `train/images`."""
    clean = stated.replace("\\", "/")
    candidates = [base / clean, path.parent / clean, path.parent / clean.removeprefix("../")]
    return next((place for place in candidates if place.exists()), candidates[0])


def _from_list(path: Path) -> _Contents:
    return _Contents(_checked(_lines(path), path), {"train": [path.parent]})


def _lines(path: Path) -> list[str]:
    """Read the lines of a file that are not empty."""
    return [line.strip() for line in read_text(path, DataError, "data: ").splitlines() if line.strip()]


def _checked(names: list[str], path: Path) -> list[str]:
    for number, name in enumerate(names):
        check_name(name, f"{path}: class {number}")
        if not name.strip() or name in names[:number]:
            raise DataError(f"data: {path}: class {number} has {'no name' if not name.strip() else f'the name {name!r} again'}")
    return names


def _images(places: list[Path], described: Path) -> tuple[list[Path], Counter[str]]:
    images: list[Path] = []
    passed: list[Counter[str]] = []
    for place in places:
        if place.is_dir():
            found = find_images(place)
            images += found.images
            passed.append(found.passed)
        elif place.suffix == ".txt" and place.is_file():
            images += [place.parent / line for line in _lines(place)]
        else:
            raise DataError(f"data: {described} names {place}, which is not there")
    return list(dict.fromkeys(images)), merged(passed)


def _label_file(image: Path) -> Path | None:
    parts = list(image.parts)
    twins = [Path(*parts[:i], "labels", *parts[i + 1 :]) for i in range(len(parts) - 1, -1, -1) if parts[i] == "images"]
    found = [twin.with_suffix(".txt") for twin in (*twins[:1], image)]
    return next((path for path in found if path.is_file()), None)


def _objects(path: Path | None, names: list[str], keypoints: int) -> tuple[Object, ...]:
    if path is None:
        return ()
    lines = enumerate(read_text(path, DataError, "data: ").splitlines(), start=1)
    return tuple(_object(line, names, keypoints, f"{path}, line {number}") for number, line in lines if line.strip())


def _object(line: str, names: list[str], keypoints: int, where: str) -> Object:
    values = _numbers(line) if len(line) <= _LONGEST else None
    if values and keypoints:
        if len(values) != 5 + keypoints:
            raise DataError(f"data: {where}: expected `class x y width height` and {keypoints} numbers of keypoints")
        values = values[:5]
    if values is None or len(values) < 5 or (len(values) > 6 and len(values) % 2 == 0):
        raise DataError(f"data: {where}: expected `class x y width height`, found {shown(line)}")
    number = int(values[0])
    if number != values[0] or not 0 <= number < len(names):
        raise DataError(f"data: {where}: class {values[0]:g}, and there are {len(names)}, counted from 0")
    return Object(_corners(values[1:]), names[number])


def _numbers(line: str) -> list[float] | None:
    try:
        values = [float(part) for part in line.split()]
    except ValueError:
        return None
    return values if all(math.isfinite(value) for value in values) else None


def _corners(values: list[float]) -> Corners:
    """Return a box's corners from a centre and a size (perhaps followed by a confidence), or from an outline."""
    if len(values) > 5:
        return min(values[0::2]), min(values[1::2]), max(values[0::2]), max(values[1::2])
    x, y, width, height = values[:4]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
