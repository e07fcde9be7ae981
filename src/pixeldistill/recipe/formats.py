"""Data formats that a recipe may name. Pure data: each is read by a function that is imported when it is needed.

To add one, write its reader and a line here. Or do both in a package of your own (see `plugins`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from pixeldistill.plugins import with_installed

LABELS = ("classes", "boxes")


@dataclass(frozen=True)
class Format:
    """A format of data.

    reader: `module:function`. It takes the recipe's `data` and returns `data.formats.base.ListedData`.
    labels: "classes" (one for each image) or "boxes".
    options: keys of `data` that this format accepts (`train`, `val`, `test`, `images`, `label_column`).
    train: meaning of `train`, if it is required.
    root: "needed", or "made" if the reader makes it.
    classes: number of classes, if it is fixed.
    """

    reader: str
    labels: str = "classes"
    options: tuple[str, ...] = ()
    train: str = ""
    root: str = "needed"
    classes: int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for labels that no task has."""
        if self.labels not in LABELS:
            raise ValueError(f"labels of a Format are {' or '.join(LABELS)}, not {self.labels!r}")


_HERE = "pixeldistill.data.formats."
_SPLITS = ("train", "val", "test")
_OWN = {
    "folder": Format(f"{_HERE}named:read_folder"),
    "list": Format(f"{_HERE}named:read_lists", options=(*_SPLITS, "label_column"), train="a file of `path, label` lines"),
    "cub": Format(f"{_HERE}named:read_cub", classes=200),
    "aircraft": Format(f"{_HERE}named:read_aircraft", classes=100),
    "letters": Format(f"{_HERE}letters:read_letters", root="made", classes=26),
    "coco": Format(f"{_HERE}coco:read_coco", "boxes", (*_SPLITS, "images"), train="a file of annotations (JSON)"),
    "voc": Format(f"{_HERE}voc:read_voc", "boxes", _SPLITS),
    "yolo": Format(f"{_HERE}yolo:read_yolo", "boxes"),
    "labelme": Format(f"{_HERE}labelme:read_labelme", "boxes"),
    "scenes": Format(f"{_HERE}scenes:read_scenes", "boxes", root="made"),
}


@cache
def formats() -> Mapping[str, Format]:
    """Return all formats by name, including those of installed packages. Raises PluginError."""
    return with_installed("formats", _OWN, Format)


def formats_with(labels: str) -> str:
    """List the names of the formats with classes, or with boxes.

    >>> formats_with("boxes")
    'coco, voc, yolo, labelme or scenes'
    """
    *names, last = [name for name, format_ in formats().items() if format_.labels == labels]
    return f"{', '.join(names)} or {last}"
