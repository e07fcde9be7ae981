"""Readers of images with one class each: folders, lists, CUB-200-2011, FGVC-Aircraft. No torch.

Each returns (path, class name) pairs by split, as the data states it.
"""

from collections import Counter
from pathlib import Path

from pixeldistill.data.folders import class_folders, describe_passed, find_images, merged, passed_notes
from pixeldistill.data.formats.base import SPLIT_WORDS, SPLITS, ListedData, split_folders
from pixeldistill.data.formats.lists import read_list
from pixeldistill.errors import DataError
from pixeldistill.recipe.data import Data
from pixeldistill.storage.files import read_text

Pair = tuple[Path, str]
Named = list[Pair]
Folders = tuple[Named, Counter[str]]


def read_folder(data: Data) -> ListedData[Pair]:
    """Read `root/train/<class>/...` with `val` and `test` beside it (or `valid`, `Test`, …), or `root/<class>/...` as a pool."""
    assert data.root is not None
    folders = class_folders(data.root)
    splits = split_folders(folders)
    words = set().union(*SPLIT_WORDS.values())
    if not splits:
        if named := [folder.name for folder in folders if folder.name.lower() in words]:
            raise DataError(f"data: {data.root} has a folder {named[0]!r} but no `train`: name the splits train, val and test")
        pool, passed = _classes(data.root)
        return ListedData({"train": pool}, passed_notes(passed), pool=True)
    if unknown := [folder.name for folder in folders if folder not in splits.values()]:
        raise DataError(f"data: {data.root} has a folder {unknown[0]!r} beside `train`: name the splits train, val and test")
    found = {split: _classes(folder) for split, folder in splits.items()}
    passed = merged(passed for _, passed in found.values())
    return ListedData({split: images for split, (images, _) in found.items()}, passed_notes(passed), pool=len(found) == 1)


def _classes(root: Path) -> Folders:
    """List the images of every class folder, and count the other files."""
    named: Named = []
    passed: list[Counter[str]] = []
    folders = class_folders(root)
    if not folders:
        raise DataError(f"data: {root} has no class folders: images belong in {root}/<class>/")
    for folder in folders:
        found = find_images(folder)
        if not found.images:
            what = f" that can be read ({describe_passed(found.passed)}): convert them, " if found.passed else ": fill it "
            raise DataError(f"data: class folder {folder} holds no image{what}or remove it")
        named += [(path, folder.name) for path in found.images]
        passed.append(found.passed)
    return named, merged(passed)


def read_lists(data: Data) -> ListedData[Pair]:
    """Read lists of `path, label[, other labels]` lines, with paths relative to root. See `lists.read_list`."""
    assert data.root is not None
    stated: ListedData[Pair] = ListedData({}, [], indices=True)
    for split in SPLITS:
        if (name := getattr(data, split)) is not None:
            found = read_list(data.root / name, data.root, data.label_column)
            stated.images[split] = found.pairs
            stated.notes.extend(found.notes)
    return stated


def read_cub(data: Data) -> ListedData[Pair]:
    """Read CUB-200-2011 as distributed: images.txt, image_class_labels.txt, classes.txt, train_test_split.txt."""
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
    return ListedData(named, [])


def read_aircraft(data: Data) -> ListedData[Pair]:
    """Read FGVC-Aircraft as distributed: data/images and data/images_variant_{train,val,test}.txt."""
    assert data.root is not None
    root = data.root / "data" if (data.root / "data").is_dir() else data.root
    named = {
        split: [(root / "images" / f"{key}.jpg", label) for key, label in _pairs(root / f"images_variant_{split}.txt")]
        for split in SPLITS
    }
    return ListedData(named, [])


def _pairs(path: Path) -> list[tuple[str, str]]:
    """Read `key value` lines. The value may contain spaces."""
    lines = read_text(path, DataError, "data: ").splitlines()
    pairs = [line.strip().partition(" ") for line in lines if line.strip()]
    for key, _, value in pairs:
        if not value:
            raise DataError(f"data: {path}: expected `key value` lines, found {key!r}")
    return [(key, value) for key, _, value in pairs]
