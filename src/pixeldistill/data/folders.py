"""Search for images in folders, with a count of all skipped files. No torch."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pixeldistill.errors import DataError

EXTENSIONS = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif",
        ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".j2k", ".jpx", ".jpf",
    }
)  # fmt: skip
# Network drives, archives and desktops add these to a user's files.
_THUMBNAILS = frozenset({"@eadir", "#recycle", "@recycle", "$recycle.bin", "__macosx", "lost+found", "system volume information"})
_LITTER = frozenset({"thumbs.db", "desktop.ini"})
SHOWN = 5  # kinds of files


class FolderListing(NamedTuple):
    """Sorted images below a folder, and the number of other files of each kind."""

    images: list[Path]
    passed: Counter[str]


def find_images(folder: Path) -> FolderListing:
    """Find the files below a folder whose suffix is an image's. Links to folders are followed, each folder once."""
    found = FolderListing([], Counter())
    _check_folder(folder)
    for path in _files(folder):
        inside = path.relative_to(folder).parts
        image = path.suffix.lower() in EXTENSIONS
        thumbnails = next((part for part in inside[:-1] if part.lower() in _THUMBNAILS), None)
        if thumbnails or any(part.startswith(".") for part in inside):
            if image:
                found.passed[f"images in {thumbnails}" if thumbnails else "hidden images"] += 1
        elif image and path.is_file():
            found.images.append(path)
        elif image:
            found.passed["links to nothing, pipes or devices"] += 1
        elif path.name.lower() not in _LITTER:
            found.passed[f"{path.suffix.lower()} files" if path.suffix else "files without a suffix"] += 1
    found.images.sort()
    return found


def class_folders(root: Path) -> list[Path]:
    """List the folders in a folder, sorted, without hidden ones and ones for thumbnails."""
    _check_folder(root)
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name.lower() not in _THUMBNAILS)


def describe_passed(passed: Counter[str]) -> str:
    """Describe the skipped files in words.

    >>> describe_passed(Counter({".heic files": 3, "hidden images": 1}))
    '.heic files (3), hidden images (1)'
    """
    parts = [f"{what} ({count})" for what, count in passed.most_common(SHOWN)]
    rest = sum(count for _, count in passed.most_common()[SHOWN:])
    return ", ".join([*parts, *([f"others ({rest})"] if rest else [])])


def passed_notes(passed: Counter[str]) -> list[str]:
    """Return a note about the skipped files, if there are any."""
    return [f"passed over, as no images that can be read: {describe_passed(passed)}"] if passed else []


def _check_folder(folder: Path) -> None:
    place = folder.resolve()
    if place == Path(place.anchor):
        raise DataError(f"folder {folder} is the whole disk: name the folder that the images are in")


def _files(root: Path) -> Iterator[Path]:
    """List the files below a folder. Links to folders are followed, each folder once, because links may form a circle."""
    visited: set[tuple[int, int]] = set()
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            place = folder.stat()
            entries = list(os.scandir(folder))
        except OSError as error:
            raise DataError(f"folder {folder} cannot be read: {error.strerror}") from error
        if (place.st_dev, place.st_ino) in visited:
            continue
        visited.add((place.st_dev, place.st_ino))
        for entry in sorted(entries, key=lambda entry: entry.name):
            try:
                within = entry.is_dir()
            except OSError:  # a link to itself
                within = False
            if within:
                folders.append(Path(entry.path))
            else:
                yield Path(entry.path)


def merged(counts: Iterable[Counter[str]]) -> Counter[str]:
    """Add up the counts of skipped files in several folders."""
    return sum(counts, Counter())
