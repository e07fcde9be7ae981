"""Reading annotations in Pascal VOC's XML. No torch."""

import math
import re
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from pixeldistill.data.annotations import LARGEST, LONGEST, Described, Object, check_name
from pixeldistill.data.images import EXTENSIONS
from pixeldistill.errors import DataError
from pixeldistill.inputs import Data

SETS = Path("ImageSets") / "Main"
FLAG = re.compile(r"\s+(-1|0|1)$")  # the sets of a single class say so whether an image shows it


def read_voc(data: Data) -> tuple[dict[str, list[Described]], list[str]]:
    """Read `ImageSets/Main/<split>.txt`, `Annotations/*.xml` and `JPEGImages/*`; classes are in alphabetical order.

    `data.train`, `val` and `test` name other image sets; objects that are marked difficult count as crowds.

    Raises:
        DataError: a missing set, annotation or image, XML that says no size or no box.
    """
    assert data.root is not None
    described: dict[str, list[Described]] = {}
    for split in ("train", "val", "test"):
        chosen = getattr(data, split)
        path = data.root / SETS / f"{chosen or split}.txt"
        if path.is_file() or chosen or split == "train":
            described[split] = [_described(data.root, name) for name in _names(path, data.root)]
    names = {o.name for images in described.values() for image in images for o in image.objects}
    return described, sorted(names)


def _names(path: Path, root: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"data: image set {path} cannot be read: {reason}; data.train, val and test name image sets") from error
    stated = [line.strip() for line in lines if line.strip()]
    if odd := next((name for name in stated if not name.replace("\t", " ").isprintable() or len(name) > LONGEST), None):
        raise DataError(f"data: image set {path} lists {odd[:40]!r}, which is no name of a file")
    if not stated:
        raise DataError(f"data: image set {path} lists no image")
    return [name if _annotation_file(root, name).is_file() else FLAG.sub("", name) for name in stated]


def _annotation_file(root: Path, name: str) -> Path:
    return root / "Annotations" / f"{name}.xml"


def _described(root: Path, name: str) -> Described:
    path = _annotation_file(root, name)
    try:
        tree = ElementTree.fromstring(path.read_bytes())
    except OSError as error:
        raise DataError(f"data: {path} cannot be read: {error.strerror}") from error
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise DataError(f"data: {path} is not XML: {error}") from error
    height, width = (int(_number(tree, f"size/{side}", path)) for side in ("height", "width"))
    if min(height, width) < 1:
        raise DataError(f"data: {path}: size is {width}×{height}: write the image's width and height there")
    return Described(_image(root, name, tree), (height, width), tuple(_object(o, path) for o in tree.findall("object")), path)


def _object(entry: Element, path: Path) -> Object:
    name = (entry.findtext("name") or "").strip()
    if not name:
        raise DataError(f"data: {path} has an object without a name")
    check_name(name, f"{path}: an object")
    x0, y0, x1, y1 = (_number(entry, f"bndbox/{corner}", path) for corner in ("xmin", "ymin", "xmax", "ymax"))
    difficult = (entry.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise DataError(f"data: {path}: difficult is {difficult[:40]!r}: expected 0 or 1")
    return Object((x0 - 1, y0 - 1, x1, y1), name, difficult == "1")  # VOC counts pixels from 1, and its last one is inside


def _image(root: Path, name: str, tree: Element) -> Path:
    """Find an annotation's image: by the set's name, whatever its extension, or as the annotation says."""
    folder = root / "JPEGImages"
    stated = (tree.findtext("filename") or "").strip()
    candidates = [
        folder / f"{name}.jpg",
        *(folder / f"{name}{e}" for e in sorted(EXTENSIONS)),
        *([folder / stated] if stated else []),
    ]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _number(entry: Element, place: str, path: Path) -> float:
    text = entry.findtext(place)
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not abs(value) < LARGEST:
        raise DataError(f"data: {path}: {place} is {text!r}, which is no number")
    return value
