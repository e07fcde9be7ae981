"""Predictions of image files by a deployed network in any runtime. No torch: the base install predicts with an exported file."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pixeldistill.data.depth import FULL, used_bits
from pixeldistill.data.folders import describe_passed, find_images, merged, passed_notes
from pixeldistill.data.images import read_image, unstated_peak
from pixeldistill.display.text import in_words
from pixeldistill.errors import DataError, PixelDistillError
from pixeldistill.tasks import Task
from pixeldistill.tasks.base import Result


class ImagePredictor(Protocol):
    """A network that predicts image files: a run's, by PyTorch, or an exported one."""

    title: str
    task: Task
    classes: tuple[str, ...]
    bits: int | None  # bits that its images use of up to 16
    pictures: Path  # folder of drawings if the user names none

    def predict(self, files: Sequence[str | Path], top: int = 5, min_score: float = 0.3) -> list[Result]:
        """Predict image files, and the images in folders."""


def list_images(files: Sequence[str | Path]) -> list[Path]:
    """List the images at paths: files, and the images in folders.

    Raises:
        DataError: a path does not exist, a folder holds no images, or there is no path.
    """
    paths = [path for name in files for path in _expand(Path(name))]
    if not paths:
        raise DataError("no image to predict")
    return paths


def read_images(
    files: Sequence[str | Path], bits: int | None = None
) -> Iterator[tuple[Path, NDArray[np.uint8] | None, str | None]]:
    """Read the images at paths one by one. Yield the image, or the reason if it cannot be read.

    Args:
        files: paths.
        bits: number of bits that a 16-bit image uses, see `data.images.read_image`.

    Raises:
        DataError: see `list_images`.
    """
    for path in list_images(files):
        try:
            yield path, read_image(path, bits=bits), None
        except PixelDistillError as error:
            yield path, None, str(error)


def notes_on(files: Sequence[str | Path], bits: int | None) -> list[str]:
    """Return notes about skipped files in folders, and about 16-bit images that would be nearly black."""
    passed = merged(find_images(Path(name)).passed for name in files if Path(name).is_dir())
    notes = [f"note: {note}" for note in passed_notes(passed)]
    if bits is not None:
        return notes
    dark: dict[Path, int] = {}
    for path in list_images(files):
        with suppress(PixelDistillError):  # `read_images` reports the reason
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
