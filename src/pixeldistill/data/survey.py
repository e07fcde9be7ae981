"""What lies in a folder: the format of its labels, found by looking. No torch."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pixeldistill.data.check import check_images
from pixeldistill.data.describe import describe_data
from pixeldistill.data.folders import class_folders, find_images
from pixeldistill.data.formats.base import SPLITS
from pixeldistill.data.images import image_size
from pixeldistill.data.splits import Splits, load_splits
from pixeldistill.display.text import in_words
from pixeldistill.errors import DataError
from pixeldistill.recipe.data import Data
from pixeldistill.statistics import spread
from pixeldistill.storage.files import read_json

_YOLO = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")
_LISTS = (".csv", ".tsv")
_SPLIT_WORDS = {"train": ("train",), "val": ("val", "valid"), "test": ("test",)}
MEASURED = 64  # images whose size is looked at


class Survey(NamedTuple):
    """What is in a folder: the recipe's `data`, its splits, the median height and width of its images, and what was noticed."""

    data: dict[str, Any]
    splits: Splits
    size: tuple[int, int]
    notes: list[str]

    @property
    def labels(self) -> str:
        """What its images have: classes, or boxes."""
        return Data.model_validate(self.data).labels


def survey(root: Path, workers: int = 1) -> Survey:
    """Look at a folder of images and labels, read every image once, and cut the splits that it lacks.

    Raises:
        DataError: no folder, no image, no label that is known, or labels that cannot be trained on; says what to do.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder: name the one that holds your images")
    data: dict[str, Any] = {**recognise(root), "root": str(root)}
    read = Data.model_validate(data | {"on_bad_image": "skip"})
    splits = check_images(load_splits(read), read, workers)
    if any(note.startswith("skipped") for note in splits.notes):
        data["on_bad_image"] = "skip"
    sizes = sorted((image_size(sample.path) for sample in spread(splits.train, MEASURED)), key=min)
    return Survey(data, splits, sizes[len(sizes) // 2], describe_data(splits))


def recognise(root: Path) -> dict[str, Any]:
    """Return a recipe's `data`, but for the root: the format of a folder's labels, and its files.

    Raises:
        DataError: there is no image, or no label that is known.
    """
    if any((root / name).is_file() for name in _YOLO):
        return {"format": "yolo"}
    documents = dict(_json_files(root))
    if coco := {path: told for path, told in documents.items() if {"images", "annotations", "categories"} <= told.keys()}:
        return {"format": "coco", **_by_split(root, coco)}
    if any(root.glob("[Aa]nnotations/*.xml")) or any(root.glob("*.xml")):
        sets = [split for split in SPLITS if (root / "ImageSets" / "Main" / f"{split}.txt").is_file()]
        return {"format": "voc", **({split: split for split in sets} if "train" in sets else {})}
    if any("shapes" in told for told in documents.values()):
        return {"format": "labelme"}
    if any(find_images(folder).images for folder in class_folders(root)):
        return {"format": "folder"}
    lists = [path for path in sorted(root.iterdir()) if path.suffix.lower() in _LISTS]
    if lists:
        return {"format": "list", **_by_split(root, dict.fromkeys(lists))}
    images = len(find_images(root).images)
    if not images:
        raise DataError(f"{root} holds no image: name the folder that holds yours")
    raise DataError(
        f"{root} holds {in_words(images, 'image')} and nothing that says what they show: put them into a folder for each class, "
        f"as in {root}/cat/1.jpg, or add annotations (COCO, VOC, YOLO, labelme) or a list (path,label lines in a .csv)"
    )


def _json_files(root: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Read the JSON files in a folder and in its folders, as far as they are mappings."""
    for path in sorted([*root.glob("*.json"), *root.glob("*/*.json")]):
        told = read_json(path, DataError)
        if isinstance(told, dict):
            yield path, told


def _by_split(root: Path, files: Mapping[Path, object]) -> dict[str, str]:
    """Tell files of splits apart by the words in their names; a single one is train."""
    names = {path: str(path.relative_to(root)) for path in files}
    if len(names) == 1:
        return {"train": next(iter(names.values()))}
    found: dict[str, str] = {}
    for split, words in _SPLIT_WORDS.items():
        alike = [name for name in names.values() if any(word in name.lower() for word in words)]
        if len(alike) > 1:
            raise DataError(f"{root} has several files of {split} ({', '.join(alike)}): write a recipe that names one")
        found |= dict.fromkeys([split] if alike else [], alike[0] if alike else "")
    if "train" not in found:
        raise DataError(
            f"{root} has {', '.join(names.values())}, and none says `train` in its name: write a recipe that names them"
        )
    return found
