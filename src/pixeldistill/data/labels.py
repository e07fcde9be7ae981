"""What an image shows, as far as everything but its task must know. No torch."""

from typing import NamedTuple, Protocol


class Label(Protocol):
    """What an image shows: `ClassLabel`, `boxes.Annotation`, or what another task has."""

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the image, where the label depends on them."""

    def classes(self) -> list[int]:
        """Return the indices of the classes that are learned from this image, one for each object."""

    def content(self) -> object:
        """Return the label as plain data, to be compared or hashed."""


class ClassLabel(NamedTuple):
    """One class for the image."""

    number: int

    @property
    def size(self) -> None:
        """No size: a class is that of any crop."""

    def classes(self) -> list[int]:
        """Return the class."""
        return [self.number]

    def content(self) -> int:
        """Return the class's index."""
        return self.number
