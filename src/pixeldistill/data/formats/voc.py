"""Reading annotations in Pascal VOC's XML. No torch."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from pixeldistill.data.folders import EXTENSIONS, class_folders
from pixeldistill.data.formats.annotations import LARGEST, LONGEST, AnnotatedImage, Object, check_name
from pixeldistill.data.formats.base import SPLITS, ListedData, split_folders
from pixeldistill.display.text import in_words, shown
from pixeldistill.errors import DataError
from pixeldistill.recipe.data import Data
from pixeldistill.storage.files import read_content, read_text

SETS = Path("ImageSets") / "Main"
FLAG = re.compile(r"\s+(-1|0|1)$")  # in a single class's image set: whether an image shows the class
LARGEST_FILE = 2**26  # bytes of one image's annotation
NAMESPACE = re.compile(r"^\{[^}]*\}")
_DIFFICULT = {"0": False, "1": True, "false": False, "true": True, "unspecified": False, "": False}


def read_voc(data: Data) -> ListedData[AnnotatedImage]:
    """Read `ImageSets/Main/<split>.txt`, `Annotations/*.xml` and `JPEGImages/*`. Classes are in alphabetical order.

    Without image sets, all annotations are one pool. XML files and images may also lie side by side, as labelImg saves them, or
    in a folder for each split (`train`, `valid`, …), as Roboflow exports them. `data.train`, `val` and `test` name other image
    sets. Objects that are marked difficult count as crowds.

    Raises:
        DataError: an image set, annotation or image is missing, or XML holds no box.
    """
    assert data.root is not None
    splits = split_folders(class_folders(data.root))
    if splits and not (data.root / SETS).is_dir() and _folder(data.root, "annotations") is None:
        return _of_folders(splits)
    reader = _Reader(data.root)
    images: dict[str, list[AnnotatedImage]] = {}
    for split in SPLITS:
        chosen = getattr(data, split)
        path = data.root / SETS / f"{chosen or split}.txt"
        if path.is_file() or chosen or (split == "train" and (data.root / SETS).is_dir()):
            images[split] = [reader.described(name) for name in _names(path, reader)]
    notes: list[str] = []
    pool = not images
    if pool:
        images["train"] = [reader.described(name) for name in reader.all_names()]
        notes.append(f"no image sets in {data.root / SETS}: all {len(images['train'])} annotations are one pool")
    return ListedData(images, [*notes, *reader.notes()], _classes(images), pool)


def _of_folders(splits: Mapping[str, Path]) -> ListedData[AnnotatedImage]:
    """Read one folder for each split, each with its own XML files and images."""
    readers = {split: _Reader(folder) for split, folder in splits.items()}
    images = {split: [reader.described(name) for name in reader.all_names()] for split, reader in readers.items()}
    notes = [note for reader in readers.values() for note in reader.notes()]
    return ListedData(images, notes, _classes(images), pool=len(images) == 1)


def _classes(images: Mapping[str, Sequence[AnnotatedImage]]) -> list[str]:
    return sorted({o.name for described in images.values() for image in described for o in image.objects})


def _names(path: Path, reader: "_Reader") -> list[str]:
    if not path.is_file():
        raise DataError(f"data: image set {path} is not there; data.train, val and test name image sets")
    lines = read_text(path, DataError, "data: image set ").splitlines()
    stated = [line.strip() for line in lines if line.strip()]
    if odd := next((name for name in stated if not name.replace("\t", " ").isprintable() or len(name) > LONGEST), None):
        raise DataError(f"data: image set {path} lists {shown(odd)}, which is no name of a file")
    if not stated:
        raise DataError(f"data: image set {path} lists no image")
    return [reader.name_of(name) for name in stated]


class _Reader:
    """Reader of a folder's annotations, with counts of what is left out."""

    def __init__(self, root: Path) -> None:
        self.annotations = _folder(root, "annotations") or root
        self.images = _folder(root, "jpegimages") or _folder(root, "images") or self.annotations
        found = sorted(path for path in self.annotations.glob("*") if path.suffix.lower() == ".xml" and path.name[0] != ".")
        self.files = {path.stem: path for path in found}
        below = sorted(root.glob("*/Annotations"))
        if not found and below:
            raise DataError(f"data: data.root {root} holds no annotations, {below[0]} does: name {below[0].parent} as data.root")
        self.lost: list[str] = []
        self.unspecified = 0

    def file(self, name: str) -> Path:
        """Return the path of an image's annotation."""
        return self.files.get(name, self.annotations / f"{name}.xml")

    def name_of(self, stated: str) -> str:
        """Return the name of the image that a line of an image set means.

        The line is `name`, `name.jpg`, or either with a flag such as `-1` after it.
        """
        tries = (stated, FLAG.sub("", stated))
        bare = [name for name in tries if self.file(name).is_file()]
        with_suffix = [Path(name) for name in tries if Path(name).suffix.lower() in EXTENSIONS]
        bare += [name for path in with_suffix for name in (str(path.with_suffix("")), path.stem)]
        return next((name for name in bare if self.file(name).is_file()), tries[1])

    def all_names(self) -> list[str]:
        """List the names of all annotations."""
        if not self.files:
            raise DataError(f"data: {self.annotations} holds no annotation (*.xml)")
        return list(self.files)

    def described(self, name: str) -> AnnotatedImage:
        """Read an image's annotation."""
        path = self.file(name)
        content = read_content(path, DataError, "data: ", LARGEST_FILE)
        try:
            tree = ElementTree.fromstring(content)
        except (ElementTree.ParseError, LookupError, ValueError, RecursionError) as error:
            raise DataError(f"data: {path} is not XML: {error}") from error
        for element in tree.iter():
            element.tag = NAMESPACE.sub("", element.tag) if isinstance(element.tag, str) else element.tag
        if tree.tag != "annotation":
            raise DataError(f"data: {path} is no annotation of VOC: its outermost element is {shown(str(tree.tag))}")
        sides = [int(_number(tree, f"size/{side}", path, absent=0)) for side in ("height", "width")]
        objects = [found for entry in tree.findall("object") if (found := self._object(entry, path))]
        size = (sides[0], sides[1]) if min(sides) > 0 else None  # if unknown, it is read from the image
        return AnnotatedImage(self._image(name, tree), size, tuple(objects), path)

    def _object(self, entry: Element, path: Path) -> Object | None:
        name = (entry.findtext("name") or "").strip()
        if not name:
            raise DataError(f"data: {path} has an object without a name")
        check_name(name, f"{path}: an object")
        if entry.find("bndbox") is None:
            self.lost.append(f"{name!r} in {path}")
            return None
        x0, y0, x1, y1 = (_number(entry, f"bndbox/{corner}", path) for corner in ("xmin", "ymin", "xmax", "ymax"))
        difficult = (entry.findtext("difficult") or "0").strip().lower()
        if difficult not in _DIFFICULT:
            raise DataError(f"data: {path}: difficult is {shown(difficult)}: expected 0 or 1")
        self.unspecified += difficult == "unspecified"
        # VOC counts pixels from 1, and its last one is inside.
        return Object((x0 - 1, y0 - 1, x1, y1), name, _DIFFICULT[difficult], difficult=_DIFFICULT[difficult])

    def _image(self, name: str, tree: Element) -> Path:
        """Find an annotation's image: by the set's name with any suffix, or by the name in the annotation."""
        stated = (tree.findtext("filename") or "").strip()
        stated = stated if stated.isprintable() and len(stated) <= LONGEST else ""
        candidates = [
            *(self.images / f"{name}{e}" for e in (".jpg", *sorted(EXTENSIONS))),
            *([self.images / stated] if stated else []),
        ]
        missing = self.images / (stated if Path(stated).stem == name else f"{name}.jpg")
        return next((path for path in candidates if path.is_file()), missing)

    def notes(self) -> list[str]:
        """Return notes about left-out objects and about guesses."""
        lost, unknown = in_words(len(self.lost), "object"), in_words(self.unspecified, "object")
        return [
            *([f"{lost} without bndbox left out (the first: {self.lost[0]})"] if self.lost else []),
            *([f"{unknown} with difficult 'Unspecified': taken for 0"] if self.unspecified else []),
        ]


def _folder(root: Path, name: str) -> Path | None:
    """Find a folder by its name in any case. If there are several, prefer the usual spelling."""
    alike = sorted(path for path in root.glob("*") if path.name.lower() == name and path.is_dir())
    return alike[0] if alike else None


def _number(entry: Element, place: str, path: Path, absent: float = math.nan) -> float:
    text = entry.findtext(place)
    try:
        value = float(text or absent)
    except ValueError:
        value = math.nan
    if not abs(value) < LARGEST:
        raise DataError(f"data: {path}: {place} is {shown(text)}, which is no number")
    return value
