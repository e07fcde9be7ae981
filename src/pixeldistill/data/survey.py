"""Survey of a folder: the format of its labels, found by looking, and a first recipe for it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pixeldistill.data.check import check_images
from pixeldistill.data.describe import describe_data
from pixeldistill.data.folders import class_folders, find_images
from pixeldistill.data.formats.base import SPLIT_WORDS, SPLITS, split_folders
from pixeldistill.data.images import read_size
from pixeldistill.data.loading import default_workers
from pixeldistill.data.splits import Splits, load_splits
from pixeldistill.display.text import in_words
from pixeldistill.errors import DataError
from pixeldistill.recipe.camera import USUAL_CROP
from pixeldistill.recipe.data import Data
from pixeldistill.recipe.starter import starter, suited
from pixeldistill.recipe.tasks import RULES
from pixeldistill.statistics import spread
from pixeldistill.storage.files import read_json

_YOLO = ("data.yaml", "data.yml", "dataset.yaml")
_YOLO_LISTS = ("classes.txt", "obj.names")
_LISTS = (".csv", ".tsv")
MEASURED = 64  # images whose size is read
MOST_FILES = 20  # JSON files that are read
LARGER = 1.25  # an image is kept decoded if its shorter side is so many times the cached one
MOST_CACHED = 4e9  # bytes of an image cache


class Survey(NamedTuple):
    """Contents of a folder: the recipe's `data`, its splits, the median height and width of its images, and notes."""

    data: dict[str, Any]
    splits: Splits
    size: tuple[int, int]
    notes: list[str]

    @property
    def task(self) -> str:
        """Task whose labels the images have."""
        labels = Data.model_validate(self.data).labels
        return next(rules.name for rules in RULES.values() if rules.labels == labels)


def first_recipe(folder: Path, workers: int | None = None, **settings: Any) -> tuple[Survey, dict[str, Any]]:  # noqa: ANN401
    """Inspect a folder, and return its contents and the content of a recipe. Missing settings are chosen to suit the images.

    Args:
        folder: a folder of images and labels.
        workers: see `survey`.
        settings: see `recipe.starter.starter`. None stands for a missing one.

    Raises:
        DataError: nothing in the folder can be trained on.
        RecipeError: settings contradict each other.
    """
    found = survey(folder, workers)
    said = {name: value for name, value in settings.items() if value is not None}
    task = said.get("task", found.task)
    sizes = suited(min(found.size), len(found.splits.train), task)
    chosen = {"task": task, "student": "resnet18", "image_size": sizes.student, "batch_size": sizes.batch} | said
    chosen = {"teacher_image_size": max(sizes.teacher, chosen["image_size"])} | chosen
    side = image_cache_side(chosen["teacher_image_size"], found.size, len(found.splits.train))
    cached = {"image_cache": side} if side and RULES[task].starting.image_cache else {}
    return found, starter(found.data | cached, **chosen)


def image_cache_side(image_size: int, size: tuple[int, int], images: int) -> int | None:
    """Return the shorter side at which it pays to keep training images decoded. None if it does not, or takes too much disk.

    Args:
        image_size: the teacher's.
        size: height and width of the images.
        images: number of training images.

    >>> image_cache_side(224, (480, 640), 2000), image_cache_side(224, (240, 320), 2000), image_cache_side(224, (480, 640), 10**6)
    (256, None, None)
    """
    side = round(image_size / USUAL_CROP)
    bytes_each = 3 * side * side * max(size) / min(size)
    return side if min(size) >= LARGER * side and images * bytes_each <= MOST_CACHED else None


def survey(root: Path, workers: int | None = None) -> Survey:
    """Inspect a folder of images and labels, read every image (twice if one is broken), and cut the splits that it lacks.

    Args:
        root: the folder.
        workers: number of threads that read images. By default one less than the cores, at most four.

    Raises:
        DataError: there is no folder, no image or no known label, or the labels cannot be trained on. The message says what to
            do.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder: name the one that holds your images")
    data: dict[str, Any] = {**recognise(root), "root": str(root)}
    workers = default_workers() if workers is None else workers
    try:
        splits = _checked(data, workers)
    except DataError:  # a broken image; without it, other errors are reported
        data["on_bad_image"] = "skip"
        splits = _checked(data, workers)
    sizes = sorted((read_size(sample.path) for sample in spread(splits.train, MEASURED)), key=min)
    return Survey(data, splits, sizes[len(sizes) // 2], describe_data(splits))


def _checked(data: Mapping[str, Any], workers: int) -> Splits:
    read = Data.model_validate(data)
    return check_images(load_splits(read), read, workers)


def recognise(root: Path) -> dict[str, Any]:
    """Return a recipe's `data` without the root: the format of a folder's labels, and its files.

    Raises:
        DataError: there is no image, or no known label.
    """
    if known := _with_boxes(root):
        return known
    found = find_images(root).images
    folders = {path.relative_to(root).parts[0] for path in found if path.parent != root}
    lists = [path for path in _files(root) if path.suffix.lower() in _LISTS]
    if (root / "image_class_labels.txt").is_file():
        return {"format": "cub"}
    if lists and len(folders) < 2:
        return {"format": "list", **_by_split(root, lists)}
    if folders:
        return {"format": "folder"}
    if not found:
        raise DataError(f"{root} holds no image: name the folder that holds yours")
    raise DataError(
        f"{root} holds {in_words(len(found), 'image')} and nothing that says what they show: put them into a folder for each "
        f"class, as in {root}/cat/1.jpg, or add annotations (COCO, VOC, YOLO, labelme) or a list (path,label lines in a .csv)"
    )


def _with_boxes(root: Path) -> dict[str, Any] | None:
    """Return a recipe's `data` without the root, for a folder with boxes. Return None if there are none."""
    if any((root / name).is_file() for name in _YOLO) or _is_yolo_list(root):
        return {"format": "yolo"}
    documents = dict(_json_files(root))
    if coco := [path for path, lists in documents.items() if {"images", "annotations", "categories"} <= lists]:
        return {"format": "coco", **_by_split(root, [p for p in coco if p.name.startswith("instances")] or coco)}
    if any(root.glob("[Aa]nnotations/*.xml")) or any(root.glob("*.xml")):
        sets = [split for split in SPLITS if (root / "ImageSets" / "Main" / f"{split}.txt").is_file()]
        return {"format": "voc", **({split: split for split in sets} if "train" in sets else {})}
    if (train := split_folders(class_folders(root)).get("train")) and any(train.glob("*.xml")):
        return {"format": "voc"}
    return {"format": "labelme"} if any("shapes" in lists for lists in documents.values()) else None


def _files(folder: Path) -> list[Path]:
    """List the regular files in a folder, without hidden ones."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and path.is_file()]


def _is_yolo_list(root: Path) -> bool:
    """Return whether a folder has labelImg's list of classes, and a text file beside some image."""
    listed = any((root / name).is_file() for name in _YOLO_LISTS)
    return listed and any(path.name not in _YOLO_LISTS for path in root.rglob("*.txt"))


def _json_files(root: Path) -> Iterator[tuple[Path, set[str]]]:
    """Return the names of the lists in each JSON file of a folder and of its folders. Of many files only the first are read."""
    folders = [root, *(path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith("."))]
    paths = [path for folder in folders for path in _files(folder) if path.suffix.lower() == ".json"]
    for path in paths[:MOST_FILES]:
        with suppress(DataError):  # an unreadable file may belong to something else
            told = read_json(path, DataError)
            yield path, {str(key) for key, value in told.items() if isinstance(value, list)} if isinstance(told, dict) else set()


def _by_split(root: Path, files: Sequence[Path]) -> dict[str, str]:
    """Assign files to splits by the words in their names. A single file is train."""
    names = {path: str(path.relative_to(root)) for path in files}
    if len(files) == 1:
        return {"train": names[files[0]]}
    found: dict[str, str] = {}
    for split, words in SPLIT_WORDS.items():
        alike = [names[path] for path in files if words & _words(path.stem)] or [
            names[path] for path in files if words & _words(path.parent.name) and path.parent != root
        ]
        if len(alike) > 1:
            raise DataError(f"{root} has several files of {split} ({', '.join(alike)}): write a recipe that names one")
        found |= dict.fromkeys([split] if alike else [], alike[0] if alike else "")
    if "train" not in found:
        listed = ", ".join(names.values())
        raise DataError(f"{root} has {listed}, and none says `train` in its name: write a recipe that names them")
    return found


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z]+", name.lower()))
