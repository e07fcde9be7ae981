"""Finding images that are not quite where a list says: it comes from another system, or its tool moved them. No torch."""

import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path, PureWindowsPath

from pixeldistill.data.folders import find_images
from pixeldistill.data.formats.base import SPLITS, Listed
from pixeldistill.display.text import in_words

_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")  # what Label Studio puts before the name of an uploaded file


def locate(listed: dict[str, list[Listed]], root: Path | None) -> list[str]:
    """Find, in place, images that are not where they are listed; returns notes that say so.

    A path may be spelt otherwise: with backslashes, with other capitals, with accents as characters of their own. Where none of
    a split's images is where it is listed, each is looked for by its name below the root: if every name is there just once, in
    no other split's list, those files are meant.
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
    """Put files in the place of the paths that were listed; returns the note that says so."""
    if not found:
        return []
    first = min(found)
    note = f"{split}: {in_words(len(found), 'image')} found {how} (the first: {images[first][0]} is {found[first]})"
    for i, path in found.items():
        images[i] = _at(images[i], path)
    return [note]


def _at(image: Listed, path: Path) -> Listed:
    """Return a listed image with another path."""
    make: Callable[..., Listed] = getattr(image, "_make", type(image))
    return make((path, *image[1:]))


def _respelt(path: Path) -> Path | None:
    """Find the one file whose path differs from a listed one by slashes, capitals or the composition of accents alone."""
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
    """Find every image of a split by its name alone, or none."""
    elsewhere = {image[0] for other, images in listed.items() if other != split for image in images}
    places: dict[str, list[Path]] = {}
    for path in find_images(root).images:
        if path not in elsewhere:
            places.setdefault(_plain(path.name), []).append(path)
    found: dict[int, Path] = {}
    for i, image in enumerate(listed[split]):
        name = PureWindowsPath(image[0].name).name  # which knows both kinds of slashes
        at = next((places[plain] for plain in (_plain(name), _plain(_UPLOAD.sub("", name))) if plain in places), [])
        if len(at) != 1 or at[0] in found.values():
            return {}
        found[i] = at[0]
    return found
