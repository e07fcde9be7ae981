"""Readers of images that have one class each: folders, lists, CUB-200-2011, FGVC-Aircraft, the demo. No torch.

Each gives `{split: [(path, class name)]}`, as the data states it.
"""

import csv
from collections.abc import Callable
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from pixeldistill.data.images import find_images
from pixeldistill.errors import DataError
from pixeldistill.inputs import Data

SPLITS = ("train", "val", "test")
Named = list[tuple[Path, str]]


def _folder(data: Data) -> dict[str, Named]:
    """`root/train/<class>/...` with `val` and `test` beside it, or `root/<class>/...` as one pool."""
    assert data.root is not None
    folders = {p.name for p in data.root.iterdir() if p.is_dir() and not p.name.startswith(".")}
    if "train" not in folders:
        if named := sorted(folders & {"val", "test", "valid", "validation", "training"}):
            raise DataError(f"data: {data.root} has a folder {named[0]!r} but no `train`: name the splits train, val and test")
        return {"train": _class_folders(data.root)}
    if unknown := sorted(folders - set(SPLITS)):
        raise DataError(f"data: {data.root} has a folder {unknown[0]!r} beside `train`: name the splits train, val and test")
    return {name: _class_folders(data.root / name) for name in SPLITS if (data.root / name).is_dir()}


def _class_folders(root: Path) -> Named:
    named: Named = []
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise DataError(f"data: {root} has no class folders: images belong in {root}/<class>/")
    for folder in folders:
        images = find_images(folder)
        if not images:
            raise DataError(f"data: class folder {folder} holds no image: fill it or remove it")
        named += [(path, folder.name) for path in images]
    return named


def _list(data: Data) -> dict[str, Named]:
    """Lists of `path, label[, other labels]` lines, paths relative to root."""
    assert data.root is not None
    named: dict[str, Named] = {}
    for split in SPLITS:
        name = getattr(data, split)
        if name is None:
            continue
        samples: Named = []
        for number, row in enumerate(_rows(data.root / name), start=1):
            if not row:
                continue
            if len(row) <= data.label_column or not row[data.label_column].strip():
                raise DataError(
                    f"data: {data.root / name}, line {number}: expected `path, label` with the label in column "
                    f"{data.label_column} (counted from 0), found {', '.join(row)!r}"
                )
            samples.append((data.root / row[0].strip(), row[data.label_column].strip()))
        if not samples:
            raise DataError(f"data: {data.root / name} lists no image")
        named[split] = samples
    return named


def _rows(path: Path) -> list[list[str]]:
    try:
        return list(csv.reader(_lines(path), skipinitialspace=True))
    except csv.Error as error:
        raise DataError(f"data: {path} is no list of `path, label` lines: {error}") from error


def _cub(data: Data) -> dict[str, Named]:
    """CUB-200-2011 as distributed: images.txt, image_class_labels.txt, classes.txt, train_test_split.txt."""
    assert data.root is not None
    paths, labels, names, is_train = (
        dict(_pairs(data.root / f"{file}.txt")) for file in ("images", "image_class_labels", "classes", "train_test_split")
    )
    named: dict[str, Named] = {"train": [], "test": []}
    for key, path in paths.items():
        try:
            label, split = names[labels[key]], "train" if is_train[key] == "1" else "test"
        except KeyError as error:
            raise DataError(f"data: {data.root}: image {key} or its class {error} is missing from the lists") from error
        named[split].append((data.root / "images" / path, label))
    return named


def _aircraft(data: Data) -> dict[str, Named]:
    """FGVC-Aircraft as distributed: data/images and data/images_variant_{train,val,test}.txt."""
    assert data.root is not None
    root = data.root / "data" if (data.root / "data").is_dir() else data.root
    return {
        split: [(root / "images" / f"{key}.jpg", label) for key, label in _pairs(root / f"images_variant_{split}.txt")]
        for split in SPLITS
    }


def _demo(data: Data) -> dict[str, Named]:
    """Photographs of solar cells from the package elpv-dataset, by the probability of a defect."""
    if find_spec("elpv_dataset") is None:
        raise DataError("data: the demo's photographs are not installed: pip install 'pixeldistill[demo]'")
    root = Path(str(resources.files("elpv_dataset"))) / "data"
    names = {"0.0": "intact", "0.3": "perhaps intact", "0.6": "perhaps defective", "1.0": "defective"}
    named: Named = []
    for row in (root / "labels.csv").read_text(encoding="utf-8").splitlines():
        path, probability, _ = row.split()
        named.append((root / path, names[probability[:3]]))
    return {"train": named}


def _pairs(path: Path) -> list[tuple[str, str]]:
    """Read `key value` lines; the value may hold spaces."""
    pairs = [line.strip().partition(" ") for line in _lines(path) if line.strip()]
    for key, _, value in pairs:
        if not value:
            raise DataError(f"data: {path}: expected `key value` lines, found {key!r}")
    return [(key, value) for key, _, value in pairs]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"data: {path} is not UTF-8 text: save it as UTF-8") from error
    except OSError as error:
        raise DataError(f"data: {path} cannot be read: {error.strerror}") from error


READERS: dict[str, Callable[[Data], dict[str, Named]]] = {
    "folder": _folder, "list": _list, "cub": _cub, "aircraft": _aircraft, "demo": _demo,
}  # fmt: skip
