"""What a reader gives of a data set, as the data states it. No torch."""

from typing import Any, Generic, NamedTuple, TypeVar

SPLITS = ("train", "val", "test")

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
