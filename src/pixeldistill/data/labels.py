"""Labels of images, as all code outside the tasks needs them. No torch."""

from typing import NamedTuple, Protocol


class Label(Protocol):
    """Label of an image: `ClassLabel`, `boxes.Annotation`, or the label of another task."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the image, if the label depends on them."""

    def classes(self) -> list[int]:
        """Return the class indices to learn from this image, one for each object."""

    def content(self) -> object:
        """Return the label as plain data, to compare or hash."""


class ClassLabel(NamedTuple):
    """Label with one class for the whole image."""

    number: int

    @property
    def size(self) -> None:
        """None, because a class holds for any crop."""

    def classes(self) -> list[int]:
        """Return the class."""
        return [self.number]

    def content(self) -> int:
        """Return the class's index."""
        return self.number
