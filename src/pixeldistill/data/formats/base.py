"""Types that a reader returns: a data set, as the data states it. No torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pixeldistill.errors import DataError

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {"train": {"train", "training"}, "val": {"val", "valid", "validation", "dev"}, "test": {"test", "testing"}}

Listed = TypeVar("Listed", bound=tuple[Any, ...])  # an image as a reader returns it, its path first


class ListedData(NamedTuple, Generic[Listed]):
    """Images of a data set by split.

    `notes`: decisions of the reader. `order`: the classes, if the data numbers them. `pool`: whether the data has no splits.
    `indices`: whether labels that are all numbers are indices, which have no gaps.
    """

    images: dict[str, list[Listed]]
    notes: list[str]
    order: list[str] = []  # noqa: RUF012  (never written to)
    pool: bool = False
    indices: bool = False


def split_folders(folders: Sequence[Path]) -> dict[str, Path]:
    """Map each split to its folder. Names match in any case. The result is empty if no folder is the train split's.

    Raises:
        DataError: two folders of the same split.

    >>> split_folders([Path("Train"), Path("valid"), Path("notes")])
    {'train': PosixPath('Train'), 'val': PosixPath('valid')}
    """
    found: dict[str, Path] = {}
    for split, words in SPLIT_WORDS.items():
        named = [folder for folder in folders if folder.name.lower() in words]
        if len(named) > 1:
            raise DataError(f"data: {named[0]} and {named[1]} are both {split}: remove one, or put both into one folder")
        found |= dict.fromkeys([split], named[0]) if named else {}
    return found if "train" in found else {}
