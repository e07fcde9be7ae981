"""What a deployed network says of image files, whatever runs it. No torch: the base install predicts with an exported file."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pixeldistill.data.depth import FULL, used_bits
from pixeldistill.data.folders import describe_passed, find_images, merged, passed_notes
from pixeldistill.data.images import read_image, unstated_peak
from pixeldistill.errors import DataError, PixelDistillError
from pixeldistill.wording import in_words


class Prediction(NamedTuple):
    """The likeliest classes of an image with their probabilities, best first; or why it could not be read."""

    path: Path
    classes: tuple[tuple[str, float], ...]
    error: str | None = None


class FoundObject(NamedTuple):
    """An object: its class, its probability, its box x0, y0, x1, y1 in pixels of the upright original."""

    name: str
    probability: float
    box: tuple[float, float, float, float]


class Detection(NamedTuple):
    """The objects found in an image, the likeliest first; or why it could not be read."""

    path: Path
    objects: tuple[FoundObject, ...]
    error: str | None = None


class Answering(Protocol):
    """A network that can be asked: a run's, by PyTorch, or an exported one."""

    title: str
    classes: tuple[str, ...]
    bits: int | None  # of its images' values, where they have up to 16
    pictures: Path  # where a detector's drawings go if the user names no folder

    @property
    def detects(self) -> bool:
        """Whether it finds objects (`detect`) rather than classes of whole images (`predict`)."""

    def predict(self, files: Sequence[str | Path], top: int = 5) -> list[Prediction]:
        """Classify image files, and the images in folders."""

    def detect(self, files: Sequence[str | Path], least: float = 0.3) -> list[Detection]:
        """Find the objects in image files, and in the images of folders."""


def list_images(files: Sequence[str | Path]) -> list[Path]:
    """List the images that paths mean.

    Raises:
        DataError: a path that is not there, a folder without images, no path at all.
    """
    paths = [path for name in files for path in _expand(Path(name))]
    if not paths:
        raise DataError("no image to predict")
    return paths


def read_images(
    files: Sequence[str | Path], bits: int | None = None
) -> Iterator[tuple[Path, NDArray[np.uint8] | None, str | None]]:
    """Read the images that paths mean, one by one; gives an image or, of one that cannot be read, the reason.

    Args:
        files: paths.
        bits: how many of its 16 bits an image uses, see `data.images.read_image`.

    Raises:
        DataError: see `list_images`.
    """
    for path in list_images(files):
        try:
            yield path, read_image(path, bits=bits), None
        except PixelDistillError as error:
            yield path, None, str(error)


def notes_on(files: Sequence[str | Path], bits: int | None) -> list[str]:
    """Say what of folders is passed over, and which images come nearly black: of 16 bits, fewer used, nobody knows how many."""
    passed = merged(find_images(Path(name)).passed for name in files if Path(name).is_dir())
    notes = [f"note: {note}" for note in passed_notes(passed)]
    if bits is not None:
        return notes
    dark: dict[Path, int] = {}
    for path in list_images(files):
        with suppress(PixelDistillError):  # whoever reads it says why
            if (peak := unstated_peak(path)) and used_bits(peak) < FULL:
                dark[path] = peak
    if not dark:
        return notes
    first, peak = next(iter(dark.items()))
    return [
        *notes,
        f"warning: {in_words(len(dark), 'image')} of 16 bits use fewer (the first: {first}, largest value {peak}) and came "
        "nearly black: the network was trained on images of 8 bits, and cannot tell how many these use; give it images of 8 bits",
    ]


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        found = find_images(path)
        if not found.images:
            others = f" that can be read ({describe_passed(found.passed)})" if found.passed else ""
            raise DataError(f"folder {path} holds no image{others}")
        return found.images
    if not path.exists():
        raise DataError(f"{path} is not there")
    return [path]
