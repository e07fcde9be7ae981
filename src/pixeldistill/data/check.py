"""Check of every image before training starts."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pixeldistill.data.depth import FULL, used_bits
from pixeldistill.data.formats.base import SPLITS
from pixeldistill.data.images import ImageCheck, check_image, file_stamp
from pixeldistill.data.loading import default_workers
from pixeldistill.data.splits import Sample, Splits, check_objects, load_splits
from pixeldistill.display.text import in_words, printable
from pixeldistill.errors import DataError
from pixeldistill.recipe.data import Data


def check_images(splits: Splits, data: Data, workers: int) -> Splits:
    """Read every image once: decode it, hash its content, and compare its size with its annotation.

    Returns:
        The splits with the hashes of their images, without broken images if the recipe has `on_bad_image: skip`. Notes count
        the broken images, and the images that two splits share byte for byte.

    Raises:
        DataError: an image is broken. The message names the first broken image and the number of all.
    """
    samples = [sample for name in SPLITS for sample in getattr(splits, name)]
    stamps = {sample.path: file_stamp(sample.path) for sample in samples}  # before they are read
    with ThreadPoolExecutor(max(1, workers)) as pool:  # decoding releases the interpreter lock
        found = {s.path: checked for s, checked in zip(samples, pool.map(_check, samples), strict=True)}
    bits, notes = _used_bits(found, data)
    bad = {path: checked.problem for path, checked in found.items() if checked.problem}
    turned = [s.path for s in samples if s.label.size and found[s.path].turned and s.path not in bad]
    content = {path: checked.digest for path, checked in found.items()}
    train, val, test = (tuple(s._replace(bits=bits, stamp=stamps[s.path]) for s in getattr(splits, name)) for name in SPLITS)
    splits = splits._replace(train=train, val=val, test=test, content=content, bits=bits)
    if bad:
        splits = _without(splits, bad, data)
    return splits._replace(notes=(*splits.notes, *notes, *_shared(splits), *_turned(turned)))


def _used_bits(found: dict[Path, ImageCheck], data: Data) -> tuple[int | None, list[str]]:
    """Return how many bits 16-bit images use, from the recipe or the largest value. Mark images with larger values as broken."""
    peaks = {path: checked.peak for path, checked in found.items() if checked.peak and not checked.problem}
    if not peaks:
        return data.bits, []
    peak = max(peaks.values())
    if data.bits is None:
        bits = used_bits(peak)
        what = f"{in_words(len(peaks), 'image')} of 16 bits use {bits} of them (largest value {peak})"
        return bits, [f"warning: {what}: read as {bits} bits; set data.bits where that is not so"] if bits < FULL else []
    for path, own in peaks.items():
        if own >= 2**data.bits:
            found[path] = found[path]._replace(problem=f"{path} has the value {own}, more than data.bits {data.bits} allow")
    return data.bits, []


def readable_splits(data: Data, workers: int | None = None) -> Splits:
    """Load splits to measure some of their images. All images are checked first only if broken ones are to be skipped."""
    splits = load_splits(data)
    if data.on_bad_image != "skip":
        return splits
    return check_images(splits, data, default_workers() if workers is None else workers)


def _check(sample: Sample) -> ImageCheck:
    """Hash an image's content, and describe what is wrong with the image."""
    checked = check_image(sample.path)
    name = str(sample.path)
    if checked.problem is None and name.encode("utf-8", "replace").decode() != name:
        return checked._replace(problem=f"{printable(name)} has a name that is no UTF-8: rename it")
    if checked.problem is None and sample.label.size not in (None, checked.size):
        (h, w), (height, width) = checked.size, sample.label.size or (0, 0)
        turned = "; its EXIF block turns it" if checked.turned else ""
        return checked._replace(
            problem=f"{sample.path} is {w}×{h} pixels, its annotation says {width}×{height}{turned}: its boxes belong to another "
            "image"
        )
    return checked


def _without(splits: Splits, bad: dict[Path, str], data: Data) -> Splits:
    first = next(iter(bad.values()))
    if data.on_bad_image == "error":
        more = f" ({len(bad) - 1} more images have problems)" if len(bad) > 1 else ""
        raise DataError(f"data: {first}{more}; mend them, or set data.on_bad_image to skip")
    kept = {name: tuple(s for s in getattr(splits, name) if s.path not in bad) for name in SPLITS}
    for name in SPLITS:
        if getattr(splits, name) and not kept[name]:
            raise DataError(f"data: no image of the {name} split can be read; the first: {first}")
    lost = set(range(len(splits.classes))) - {number for sample in kept["train"] for number in sample.label.classes()}
    if lost:
        raise DataError(f"data: no image of class {splits.classes[min(lost)]!r} in train can be read; the first: {first}")
    check_objects(kept)
    return splits._replace(
        train=kept["train"], val=kept["val"], test=kept["test"],
        notes=(*splits.notes, f"skipped {len(bad)} bad images; the first: {first}"),
    )  # fmt: skip


def _turned(turned: Sequence[Path]) -> list[str]:
    """Warn of images with boxes that EXIF turns or mirrors. Their boxes may have been drawn before or after the turn."""
    if not turned:
        return []
    what = f"warning: {in_words(len(turned), 'image')} with boxes are turned or mirrored by EXIF (the first: {turned[0]})"
    return [f"{what}: boxes are taken as of the upright image"]


def _shared(splits: Splits) -> list[str]:
    """Warn of images that two splits share, under any name: val or test with train, test with val. Count copies in train."""
    notes = []
    for name, other in (("val", "train"), ("test", "train"), ("test", "val")):
        known = {splits.content[s.path]: s.path for s in getattr(splits, other)}
        twins = [(s.path, known[splits.content[s.path]]) for s in getattr(splits, name) if splits.content[s.path] in known]
        if twins:
            notes.append(
                f"warning: {len(twins)} images of {name} are in {other} too, byte for byte (the first: {twins[0][0]} is "
                f"{twins[0][1]}): figures on them are too good; remove them from one of the two"
            )
    copies = sum(count - 1 for count in Counter(splits.content[s.path] for s in splits.train).values())
    return [*notes, f"train holds {copies} exact copies of its own images"] if copies else notes
