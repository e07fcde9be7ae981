"""Completion of a box reader's result: join the entries of one image, and read missing image sizes. No torch."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pixeldistill.data.formats.annotations import AnnotatedImage, Corners
from pixeldistill.data.images import read_size
from pixeldistill.display.text import in_words
from pixeldistill.errors import DataError
from pixeldistill.recipe.data import Data


def join_entries(described: dict[str, list[AnnotatedImage]]) -> list[str]:
    """Join, in place, several entries of one image in a split, as merged exports have them. Return a note."""
    notes = []
    for split, images in described.items():
        alike: dict[Path, list[AnnotatedImage]] = {}
        for image in images:
            alike.setdefault(image.path, []).append(image)
        if more := len(images) - len(alike):
            described[split] = [
                group[0]._replace(objects=tuple(dict.fromkeys(o for image in group for o in image.objects)))
                for group in alike.values()
            ]
            first = next(path for path, group in alike.items() if len(group) > 1)
            entries = "1 entry" if more == 1 else f"{more} entries"
            notes.append(f"{split}: {entries} of images that are listed again joined with the first (such as {first})")
    return notes


def read_sizes(described: dict[str, list[AnnotatedImage]], data: Data) -> list[str]:
    """Read, in place, the image sizes that the data does not state, and convert relative objects to pixels. Return a note."""
    stated = any(not image.relative for images in described.values() for image in images)
    unknown = [image.path for images in described.values() for image in images if image.size is None]
    sizes: dict[Path, tuple[int, int]] = {}
    bad: dict[Path, str] = {}

    def measure(path: Path) -> None:
        try:
            sizes[path] = read_size(path)
        except DataError as error:
            bad[path] = str(error)

    with ThreadPoolExecutor(8) as pool:  # most of the time is waiting for the disk
        list(pool.map(measure, unknown))
    if bad and data.on_bad_image == "error":
        first = next(bad[path] for path in unknown if path in bad)
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise DataError(f"data: {first}{more}, or set data.on_bad_image to skip")
    for split, images in described.items():
        kept = [image._replace(size=sizes.get(image.path, image.size)) for image in images if image.path not in bad]
        if images and not kept:
            raise DataError(f"data: no image of the {split} split can be read; the first: {next(iter(bad.values()))}")
        described[split] = [_in_pixels(image) if image.relative else image for image in kept]
    notes = [f"skipped {len(bad)} bad images; the first: {next(iter(bad.values()))}"] if bad else []
    return notes + ([f"{in_words(len(sizes), 'image')} without a stated size: read from the file"] if sizes and stated else [])


def _in_pixels(image: AnnotatedImage) -> AnnotatedImage:
    height, width = image.sides

    def scaled(box: Corners) -> Corners:
        return box[0] * width, box[1] * height, box[2] * width, box[3] * height

    return image._replace(objects=tuple(o._replace(box=scaled(o.box)) for o in image.objects), relative=False)
