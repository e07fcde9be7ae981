"""Search for images that are not where a list says, for example because the list comes from another system. No torch."""

import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path, PureWindowsPath

from pixeldistill.data.folders import find_images
from pixeldistill.data.formats.base import SPLITS, Listed
from pixeldistill.display.text import in_words

_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")  # Label Studio adds this prefix to the name of an uploaded file


def locate(listed: dict[str, list[Listed]], root: Path | None) -> list[str]:
    """Find, in place, images that are not at their listed paths. Return notes about them.

    A path may be spelt differently: with backslashes, other capitals, or accents as separate characters. If no image of a split
    is at its listed path, each is searched by its name below the root. The result is used if every name is there exactly once,
    and not in another split's list.
    """
    notes: list[str] = []
    for split in SPLITS:
        images = listed.get(split, [])
        missing = [i for i, image in enumerate(images) if not image[0].is_file()]
        respelt = {i: found for i in missing if (found := _respelt(images[i][0]))}
        notes += _taken(split, images, respelt, "in another spelling")
        if root and missing and len(missing) == len(images) and not respelt:
            notes += _taken(split, images, _by_name(split, listed, root), "by their names")
    return notes


def _taken(split: str, images: list[Listed], found: Mapping[int, Path], how: str) -> list[str]:
    """Replace listed paths by found files. Return the note about it."""
    if not found:
        return []
    first = min(found)
    note = f"{split}: {in_words(len(found), 'image')} found {how} (the first: {images[first][0]} is {found[first]})"
    for i, path in found.items():
        images[i] = _at(images[i], path)
    return [note]


def _at(image: Listed, path: Path) -> Listed:
    """Return a listed image with a new path."""
    make: Callable[..., Listed] = getattr(image, "_make", type(image))
    return make((path, *image[1:]))


def _respelt(path: Path) -> Path | None:
    """Find the only file whose path differs from a listed one just by slashes, capitals or the composition of accents."""
    parts = [part for part in str(path).replace("\\", "/").split("/") if part]
    place = Path("/") if path.is_absolute() else Path()
    for part in parts:
        exact = place / part
        if not os.path.lexists(exact):
            alike = [name for name in _names(place) if _plain(name) == _plain(part)]
            if len(alike) != 1:
                return None
            exact = place / alike[0]
        place = exact
    return place if place.is_file() else None


@cache
def _names(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(os.listdir(folder))
    except OSError:
        return ()


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _by_name(split: str, listed: Mapping[str, list[Listed]], root: Path) -> dict[int, Path]:
    """Find all images of a split by their names. Return nothing unless all are found."""
    elsewhere = {image[0] for other, images in listed.items() if other != split for image in images}
    places: dict[str, list[Path]] = {}
    for path in find_images(root).images:
        if path not in elsewhere:
            places.setdefault(_plain(path.name), []).append(path)
    found: dict[int, Path] = {}
    for i, image in enumerate(listed[split]):
        name = PureWindowsPath(image[0].name).name  # handles both kinds of slashes
        at = next((places[plain] for plain in (_plain(name), _plain(_UPLOAD.sub("", name))) if plain in places), [])
        if len(at) != 1 or at[0] in found.values():
            return {}
        found[i] = at[0]
    return found
