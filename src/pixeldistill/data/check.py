"""Checking every image before any work starts."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pixeldistill.data.boxes import Annotation
from pixeldistill.data.images import check_image, image_size, orientation
from pixeldistill.data.loading import default_workers
from pixeldistill.data.named import SPLITS
from pixeldistill.data.sources import Sample, Splits, check_objects, load_splits
from pixeldistill.errors import DataError
from pixeldistill.inputs import Data
from pixeldistill.wording import in_words


def check_images(splits: Splits, data: Data, workers: int) -> Splits:
    """Read every image once: decode it, take a hash of its content, compare its size with what its annotation says.

    Returns:
        The splits with their content known, without the broken images if the recipe says `on_bad_image: skip`; notes count
        those, and images that are in two splits byte for byte.

    Raises:
        DataError: naming the first broken image and the number of all.
    """
    samples = [sample for name in SPLITS for sample in getattr(splits, name)]
    with ThreadPoolExecutor(max(1, workers)) as pool:  # decoding leaves the interpreter free
        found = {sample.path: result for sample, result in zip(samples, pool.map(_check, samples), strict=True)}
        readable = [s.path for s in samples if isinstance(s.label, Annotation) and not found[s.path][1]]
        turned = [path for path, way in zip(readable, pool.map(orientation, readable), strict=True) if way > 1]
    bad = {path: problem for path, (_, problem) in found.items() if problem}
    splits = splits._replace(content={path: digest for path, (digest, _) in found.items()})
    if bad:
        splits = _without(splits, bad, data)
    return splits._replace(notes=(*splits.notes, *_shared(splits), *_turned(turned)))


def readable_splits(data: Data, workers: int | None = None) -> Splits:
    """Load splits to measure some of their images: all are looked at first only where broken ones are to be left out."""
    splits = load_splits(data)
    if data.on_bad_image != "skip":
        return splits
    return check_images(splits, data, default_workers() if workers is None else workers)


def _check(sample: Sample) -> tuple[str, str | None]:
    """Identify an image by its content, and say what is wrong with it, or None."""
    digest, problem = check_image(sample.path)
    name = str(sample.path)
    if problem is None and name.encode("utf-8", "replace").decode() != name:
        problem = f"{name.encode('utf-8', 'backslashreplace').decode()} has a name that is no UTF-8: rename it"
    if problem is None and isinstance(sample.label, Annotation) and (size := image_size(sample.path)) != sample.label.size:
        (h, w), (height, width) = size, sample.label.size
        turned = "; its EXIF block turns it" if orientation(sample.path) > 1 else ""
        problem = (
            f"{sample.path} is {w}×{h} pixels, its annotation says {width}×{height}{turned}: its boxes belong to another image"
        )
    return digest, problem


def _without(splits: Splits, bad: dict[Path, str], data: Data) -> Splits:
    first = next(iter(bad.values()))
    if data.on_bad_image == "error":
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise DataError(f"data: {first}{more}, or set data.on_bad_image to skip")
    kept = {name: tuple(s for s in getattr(splits, name) if s.path not in bad) for name in SPLITS}
    for name in SPLITS:
        if getattr(splits, name) and not kept[name]:
            raise DataError(f"data: no image of the {name} split can be read; the first: {first}")
    lost = set(range(len(splits.classes))) - {number for sample in kept["train"] for number in _classes_of(sample)}
    if lost:
        raise DataError(f"data: no image of class {splits.classes[min(lost)]!r} in train can be read; the first: {first}")
    check_objects(kept)
    return splits._replace(
        train=kept["train"], val=kept["val"], test=kept["test"],
        notes=(*splits.notes, f"skipped {len(bad)} bad images; the first: {first}"),
    )  # fmt: skip


def _turned(turned: Sequence[Path]) -> list[str]:
    """Warn of images with boxes that EXIF turns or mirrors: their boxes may have been drawn before or after."""
    if not turned:
        return []
    what = f"warning: {in_words(len(turned), 'image')} with boxes are turned or mirrored by EXIF (the first: {turned[0]})"
    return [f"{what}: boxes are taken as of the upright image"]


def _classes_of(sample: Sample) -> list[int]:
    label = sample.label
    return [int(n) for n in label.labels[~label.crowd]] if isinstance(label, Annotation) else [label]


def _shared(splits: Splits) -> list[str]:
    """Warn of test or validation images that train holds too, under whatever name, and of test images that chose on val."""
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
