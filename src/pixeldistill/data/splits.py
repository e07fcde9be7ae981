"""Splits of labelled images: folders, lists, CUB-200-2011, FGVC-Aircraft, letters; and images with boxes. No torch.

Readers (`named`, `coco`, `voc`, `scenes`) return what the data states. `load_splits` checks the result and makes the splits
that are missing.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixeldistill.data.formats.annotations import AnnotatedImage, boxed_splits, check_convention, learnable
from pixeldistill.data.formats.base import SPLITS, Listed, ListedData
from pixeldistill.data.formats.boxed import join_entries, read_sizes
from pixeldistill.data.formats.located import locate
from pixeldistill.data.formats.named import Named, Pair
from pixeldistill.data.images import read_image
from pixeldistill.data.labels import ClassLabel, Label
from pixeldistill.display.text import in_words
from pixeldistill.errors import DataError, PluginError
from pixeldistill.plugins import load
from pixeldistill.recipe.data import Data
from pixeldistill.recipe.formats import formats

LONG_NUMBER = 19  # digits: a longer number is read as a name


class Sample(NamedTuple):
    """An image file, and its class index or the boxes in it.

    Checking sets two fields: how many of 16 bits the image uses, if it has them (`bits`), and the file's `file_stamp`.
    """

    path: Path
    label: Label
    bits: int | None = None
    stamp: int | None = None

    def read(self, reduction: Callable[[int, int], int] | None = None) -> NDArray[np.uint8]:
        """Read the image, see `read_image`. Raise DataError if it has changed since it was checked."""
        return read_image(self.path, reduction, bits=self.bits, stamp=self.stamp)


class Splits(NamedTuple):
    """Labelled images of each split. `test` is empty if the data has none. `notes` hold the decisions that were made.

    Checking sets two fields: a hash of each file (`content`), and how many bits 16-bit images use (`bits`).
    """

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    content: Mapping[Path, str] = MappingProxyType({})
    bits: int | None = None

    def digest(self, *names: str) -> str:
        """Return a hash of the data. A run resumes only with the same data, wherever its files are and whatever their names.

        The hash covers the classes, and the content and label of every image of the splits (all of them, or those named).
        """
        samples = [[(self.content[s.path], s.label.content()) for s in getattr(self, name)] for name in names or SPLITS]
        return hashlib.sha256(repr((self.classes, samples)).encode()).hexdigest()[:16]

    def identity(self, name: str) -> dict[str, str | int]:
        """Return the identity of a split, so that differences to another split can be named in words."""
        return {"number": len(getattr(self, name)), "classes": len(self.classes), "content": self.digest(name)}


def load_splits(data: Data) -> Splits:
    """Read the data's splits, check that they fit together, and cut missing splits by seed.

    Raises:
        DataError: a file is missing, a class is empty, labels have gaps, train lacks a class, or one image is in two splits.
    """
    if data.root is not None and not data.root.is_dir() and formats()[data.format].root != "made":
        where = "" if data.root.is_absolute() else f" ({data.root.resolve()})"
        raise DataError(f"data.root {data.root}{where} is no folder")
    rng = np.random.default_rng(data.split_seed)
    return _LOADERS[data.labels](data, rng)


def _read(data: Data) -> ListedData[Any]:
    """Read the data with the reader of its format."""
    place = formats()[data.format].reader
    found = load(place)(data)
    if not isinstance(found, ListedData):
        raise PluginError(f"{place} must return a ListedData, and returned a {type(found).__name__}")
    return found


def _load_named(data: Data, rng: np.random.Generator) -> Splits:
    """Load images with one class each."""
    stated: ListedData[Pair] = _read(data)
    named = stated.images
    notes = [*stated.notes, *locate(named, data.root), *_skipped(named, data)]
    if not named.get("train"):
        raise DataError(f"data: the train split of {data.root or data.format} has no image")
    if stated.indices:
        _whole_numbers(named)
    classes = _class_names(named["train"], gaps=not stated.indices)
    _check_classes(named, classes)
    _check_files(named, data)
    notes += _cut_missing(named, lambda sample: {sample[1]}, data, rng, pool=stated.pool)
    index = {name: i for i, name in enumerate(classes)}
    samples = {split: [Sample(path, ClassLabel(index[label])) for path, label in of] for split, of in named.items()}
    notes += _limited(samples, data, rng)
    return _splits(samples, classes, notes)


def _load_boxed(data: Data, rng: np.random.Generator) -> Splits:
    """Load images with boxes."""
    stated: ListedData[AnnotatedImage] = _read(data)
    described = stated.images
    notes = [*stated.notes, *locate(described, data.root), *_skipped(described, data), *join_entries(described)]
    _check_files(described, data)
    notes += read_sizes(described, data)
    for name, images in described.items():
        check_convention(name, images)
    notes += _cut_missing(described, learnable, data, rng, pool=stated.pool)
    boxed = boxed_splits(described, stated.order, stated.notes)
    samples = {split: [Sample(path, annotation) for path, annotation in of] for split, of in boxed.samples.items()}
    notes += _limited(samples, data, rng)  # after `boxed_splits`, so that the classes are those of all images
    check_objects(samples)
    return _splits(samples, boxed.classes, [*notes, *boxed.notes])


def check_objects(samples: Mapping[str, Sequence[Sample]]) -> None:
    """Raise DataError if val or test has images but no object that counts."""
    for name in ("val", "test"):
        if samples.get(name) and not any(sample.label.classes() for sample in samples[name]):
            raise DataError(f"data: no image of {name} has an object: there is nothing to measure with")


def _splits(samples: Mapping[str, Sequence[Sample]], classes: tuple[str, ...], notes: list[str]) -> Splits:
    train, val, test = (tuple(samples.get(name, [])) for name in SPLITS)
    return Splits(train, val, test, classes, tuple(notes))


def _limited(listed: dict[str, list[Listed]], data: Data, rng: np.random.Generator) -> list[str]:
    """Limit the splits, in place, if the recipe does. Return notes about it."""
    notes = []
    for name in SPLITS:
        of = listed.get(name, [])
        if data.limit and len(of) > data.limit:
            listed[name] = [of[i] for i in sorted(rng.permutation(len(of))[: data.limit])]
            notes.append(f"{name}: {data.limit} images kept (data.limit)")
    return notes


def _cut_missing(
    listed: dict[str, list[Listed]],
    classes_of: Callable[[Listed], set[str]],
    data: Data,
    rng: np.random.Generator,
    *,
    pool: bool,
) -> list[str]:
    """Cut, in place, the splits that the data lacks. A test split is cut only from a single pool. Return notes about it."""
    notes = []
    if pool:
        listed["train"], listed["test"] = _cut(listed["train"], classes_of, data.test_fraction, rng)
        notes.append(_cut_note("test", "all images", listed["test"], data))
    if not listed.get("val"):
        listed["train"], listed["val"] = _cut(listed["train"], classes_of, data.val_fraction, rng)
        notes.append(_cut_note("val", "train", listed["val"], data))
    if not listed.get("test"):
        notes.append("no test split: figures are of val alone")
    return notes


def _cut_note(name: str, source: str, cut: Sequence[Any], data: Data) -> str:
    return f"no {name} split: {in_words(len(cut), 'image')} cut from {source} by split_seed {data.split_seed}"


def _cut(
    samples: Sequence[Listed], classes_of: Callable[[Listed], set[str]], fraction: float, rng: np.random.Generator
) -> tuple[list[Listed], list[Listed]]:
    """Take a fraction of every class's images at random, but leave each class at least one. Return (rest, taken).

    An image of several classes counts for the class that the fewest images have.
    """
    known = [classes_of(sample) for sample in samples]
    left = Counter(name for names in known for name in names)
    groups: dict[str, list[int]] = {}
    for i, names in enumerate(known):
        groups.setdefault(min(names, key=lambda name: (left[name], name), default=""), []).append(i)
    taken: set[int] = set()
    for name in sorted(groups):
        members = groups[name]
        wanted = min(max(1, round(len(members) * fraction)), len(members) - 1)
        for i in rng.permutation(members):
            if wanted and all(left[n] > 1 for n in known[i]):
                taken.add(int(i))
                left.subtract(known[i])
                wanted -= 1
    if not taken:
        raise DataError("data: too few images of each class to set one aside to measure with: add images")
    return [s for i, s in enumerate(samples) if i not in taken], [samples[i] for i in sorted(taken)]


def _skipped(listed: dict[str, list[Listed]], data: Data) -> list[str]:
    """Leave out, in place, listed files that do not exist, if the recipe says so. Return a note with their number."""
    if data.on_bad_image != "skip":
        return []
    missing = [sample[0] for samples in listed.values() for sample in samples if not sample[0].is_file()]
    for split, samples in listed.items():
        listed[split] = [sample for sample in samples if sample[0].is_file()]
        if samples and not listed[split]:
            raise DataError(f"data: no image of the {split} split is there; the first: {missing[0]}")
    return [f"skipped {len(missing)} images that are listed but are not there; the first: {missing[0]}"] if missing else []


def _whole_numbers(named: Mapping[str, Named]) -> None:
    """Remove the decimal point of labels, in place, if all are whole numbers: a spreadsheet may have written 1.0 for 1."""
    labels = {label for of in named.values() for _, label in of}
    if all(label.removesuffix(".0").isdecimal() and label.isascii() for label in labels):
        for of in named.values():
            of[:] = [(path, label.removesuffix(".0")) for path, label in of]


def _class_names(train: Named, *, gaps: bool) -> tuple[str, ...]:
    """Sort the class names; if all are numbers, by value. In lists, numbers are indices and must be 0, 1, 2, ..."""
    names = {label for _, label in train}
    if not all(name.isascii() and name.isdecimal() and len(name) < LONG_NUMBER for name in names):
        return tuple(sorted(names))
    if gaps or any(str(int(name)) != name for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    found = sorted(int(name) for name in names)
    missing = sorted(set(range(len(found))) - set(found))
    if missing:
        shown = ", ".join(map(str, missing[:5]))
        raise DataError(
            f"data: numeric labels must be 0 to {len(found) - 1} without gaps, but train has no label {shown} and goes up "
            f"to {found[-1]}: renumber them, or write class names instead"
        )
    return tuple(str(n) for n in found)


def _check_classes(named: Mapping[str, Named], classes: tuple[str, ...]) -> None:
    if len(classes) < 2:
        raise DataError(f"data: only one class ({classes[0]!r}): there is nothing to tell apart")
    known = set(classes)
    for split in SPLITS:
        for path, label in named.get(split, []):
            if label not in known:
                raise DataError(
                    f"data: {split} has class {label!r} ({path}), which train lacks: add images of it to train, "
                    "or remove this image"
                )


def _check_files(listed: Mapping[str, Sequence[tuple[Any, ...]]], data: Data) -> None:
    """Raise DataError if an image is listed twice or does not exist."""
    seen: dict[Path, str] = {}
    for split in SPLITS:
        for path, *_ in listed.get(split, []):
            if path in seen:
                where = f"twice in {split}" if seen[path] == split else f"both in {seen[path]} and in {split}"
                raise DataError(f"data: {path} is {where}: figures on it would be worthless; remove one")
            seen[path] = split
    missing = [path for path in seen if not path.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        what = "listed, but no regular file" if missing[0].exists() else "listed, but not there"
        lost = any(images and all(path in missing for path, *_ in images) for images in listed.values())
        mend = ": name their folder as data.images" if lost and "images" in formats()[data.format].options else ""
        raise DataError(f"data: {missing[0]}{more}: {what}{mend}")


_LOADERS = {"classes": _load_named, "boxes": _load_boxed}  # by the kind of label
