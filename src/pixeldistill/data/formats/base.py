"""What a reader gives of a data set, as the data states it. No torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from pixeldistill.errors import DataError

SPLITS = ("train", "val", "test")
SPLIT_WORDS = {"train": {"train", "training"}, "val": {"val", "valid", "validation", "dev"}, "test": {"test", "testing"}}

Listed = TypeVar("Listed", bound=tuple[Any, ...])  # an image as a reader gives it, its path first


class ListedData(NamedTuple, Generic[Listed]):
    """A data set's images by split.

    `notes`: what was made of what it states. `order`: its classes, where it numbers them. `pool`: whether it has no splits.
    `indices`: whether labels that are all numbers are indices, which have no gaps.
    """

    images: dict[str, list[Listed]]
    notes: list[str]
    order: list[str] = []  # noqa: RUF012  (never written to)
    pool: bool = False
    indices: bool = False


def split_folders(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the folders that are named as a split is, by split, in whatever case; none where there is no train.

    Raises:
        DataError: two folders of one split.

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
