"""Where labelled images come from: folders, lists, CUB-200-2011, FGVC-Aircraft, the demo; and images with boxes. No torch.

Readers (`named`, `coco`, `voc`, `scenes`) give what the data states; `load_splits` checks what they say and cuts the splits that
are missing.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pixeldistill.data.annotations import Described, boxed_splits, check_convention, learnable
from pixeldistill.data.boxes import Annotation
from pixeldistill.data.coco import read_coco
from pixeldistill.data.named import READERS, SPLITS, Named
from pixeldistill.data.scenes import read_scenes
from pixeldistill.data.voc import read_voc
from pixeldistill.errors import DataError
from pixeldistill.inputs import Data

MANY_CLASSES = 20  # more are not listed one by one


class Sample(NamedTuple):
    """An image file, and its class index or the boxes in it."""

    path: Path
    label: int | Annotation


class Splits(NamedTuple):
    """Labelled images of each split; `test` is empty where the data has none. `notes` say what was decided."""

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    content: Mapping[Path, str] = MappingProxyType({})  # what each file holds, as a hash; known once they have been checked

    def digest(self, *names: str) -> str:
        """Identify the data: a run goes on only with what it began with, wherever that lies now and whatever the files' names.

        Looked at are the classes, and the content and label of every image of the splits (all of them, or those named).
        """
        samples = [[(self.content[s.path], _plain(s.label)) for s in getattr(self, name)] for name in names or SPLITS]
        return hashlib.sha256(repr((self.classes, samples)).encode()).hexdigest()[:16]

    def identity(self, name: str) -> dict[str, str | int]:
        """Identify a split, so that two of them can be told apart in words."""
        return {"number": len(getattr(self, name)), "classes": len(self.classes), "content": self.digest(name)}


Listed = TypeVar("Listed", bound=tuple[Any, ...])  # an image as a reader gives it, its path first


def _plain(label: int | Annotation) -> object:
    return label.content() if isinstance(label, Annotation) else label


def load_splits(data: Data) -> Splits:
    """Read the data's splits, check that they fit together, and cut by seed those that are missing.

    Raises:
        DataError: a missing file, an empty class, labels with gaps, a class that train lacks, one image in two splits.
    """
    if data.root is not None and not data.root.is_dir() and data.format != "scenes":
        where = "" if data.root.is_absolute() else f" ({data.root.resolve()})"
        raise DataError(f"data.root {data.root}{where} is no folder")
    rng = np.random.default_rng(data.split_seed)
    return _load_boxed(data, rng) if data.boxed else _load_named(data, rng)


def _load_named(data: Data, rng: np.random.Generator) -> Splits:
    """Load images that have one class each."""
    named = READERS[data.format](data)
    notes = _skipped(named, data)
    if not named.get("train"):
        raise DataError(f"data: the train split of {data.root or data.format} has no image")
    classes = _class_names(named["train"], numbers=data.format == "list")
    _check_classes(named, classes)
    _check_files(named)
    notes += _cut_missing(named, lambda sample: {sample[1]}, data, rng)
    index = {name: i for i, name in enumerate(classes)}
    samples = {split: [Sample(path, index[label]) for path, label in of] for split, of in named.items()}
    notes += _limited(samples, data, rng)
    return _splits(samples, classes, notes)


def _load_boxed(data: Data, rng: np.random.Generator) -> Splits:
    """Load images that have boxes."""
    described, order = _BOXED_READERS[data.format](data)
    notes = _skipped(described, data)
    _check_files(described)
    for name, images in described.items():
        check_convention(name, images)
    notes += _cut_missing(described, learnable, data, rng)
    boxed = boxed_splits(described, order)
    samples = {split: [Sample(path, annotation) for path, annotation in of] for split, of in boxed.samples.items()}
    notes += _limited(samples, data, rng)  # the classes are those of all
    check_objects(samples)
    return _splits(samples, boxed.classes, [*notes, *boxed.notes])


def check_objects(samples: Mapping[str, Sequence[Sample]]) -> None:
    """Refuse val and test images with boxes of which none has an object that counts. Raises DataError."""
    for name in ("val", "test"):
        annotations = [sample.label for sample in samples.get(name, ()) if isinstance(sample.label, Annotation)]
        if annotations and not any((~annotation.crowd).any() for annotation in annotations):
            raise DataError(f"data: no image of {name} has an object: there is nothing to measure with")


def describe_classes(splits: Splits) -> str:
    """Count in a line what each class has in train, val and test, of many classes those with the least to learn from.

    A name that was mistyped in train makes a class of its own, and is seen here.
    """
    counted = [np.bincount(_labels(split), minlength=len(splits.classes)) for split in (splits.train, splits.val, splits.test)]
    order = np.arange(len(splits.classes))
    many = len(order) > MANY_CLASSES
    shown = np.argsort(counted[0], kind="stable")[:MANY_CLASSES] if many else order
    what = "boxes" if splits.train and isinstance(splits.train[0].label, Annotation) else "images"
    told = ", ".join(f"{splits.classes[i]} {'/'.join(str(counts[i]) for counts in counted)}" for i in shown)
    return f"{what} in train/val/test{f', the {MANY_CLASSES} rarest classes' if many else ''}: {told}"


def _labels(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """List the classes of images, or of all their boxes that are no crowds."""
    labels = [s.label.labels[~s.label.crowd] if isinstance(s.label, Annotation) else [s.label] for s in samples]
    return np.concatenate([np.zeros(0, np.int64), *(np.asarray(label, np.int64) for label in labels)])


def _splits(samples: Mapping[str, Sequence[Sample]], classes: tuple[str, ...], notes: list[str]) -> Splits:
    train, val, test = (tuple(samples.get(name, [])) for name in SPLITS)
    return Splits(train, val, test, classes, tuple(notes))


def _limited(listed: dict[str, list[Listed]], data: Data, rng: np.random.Generator) -> list[str]:
    """Limit the splits, in place, if the recipe does; gives notes that say so."""
    notes = []
    for name in SPLITS:
        of = listed.get(name, [])
        if data.limit and len(of) > data.limit:
            listed[name] = [of[i] for i in sorted(rng.permutation(len(of))[: data.limit])]
            notes.append(f"{name}: {data.limit} images kept (data.limit)")
    return notes


def _cut_missing(
    listed: dict[str, list[Listed]], classes_of: Callable[[Listed], set[str]], data: Data, rng: np.random.Generator
) -> list[str]:
    """Cut, in place, the splits that the data lacks; gives notes that say so."""
    notes = []
    pooled = data.format in ("folder", "demo") and "val" not in listed
    if "test" not in listed and pooled:
        listed["train"], listed["test"] = _cut(listed["train"], classes_of, data.test_fraction, rng)
        notes.append(_cut_note("test", "all images", listed["test"], data))
    if not listed.get("val"):
        listed["train"], listed["val"] = _cut(listed["train"], classes_of, data.val_fraction, rng)
        notes.append(_cut_note("val", "train", listed["val"], data))
    if not listed.get("test"):
        notes.append("no test split: figures are of val alone")
    return notes


def _cut_note(name: str, source: str, cut: Sequence[Any], data: Data) -> str:
    return f"no {name} split: {len(cut)} images cut from {source} by split_seed {data.split_seed}"


def _cut(
    samples: Sequence[Listed], classes_of: Callable[[Listed], set[str]], fraction: float, rng: np.random.Generator
) -> tuple[list[Listed], list[Listed]]:
    """Take a fraction of every class's images away, at random but leaving each class at least one. Returns (rest, taken).

    An image of several classes counts as one of that which the fewest images have.
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
        raise DataError("data: each is the single image of a class, so none can be set aside to measure with: add images")
    return [s for i, s in enumerate(samples) if i not in taken], [samples[i] for i in sorted(taken)]


def _skipped(listed: dict[str, list[Listed]], data: Data) -> list[str]:
    """Leave out, in place, what is listed but is not there, if the recipe says so; gives a note that counts it."""
    if data.on_bad_image != "skip":
        return []
    missing = [sample[0] for samples in listed.values() for sample in samples if not sample[0].is_file()]
    for split, samples in listed.items():
        listed[split] = [sample for sample in samples if sample[0].is_file()]
        if samples and not listed[split]:
            raise DataError(f"data: no image of the {split} split is there; the first: {missing[0]}")
    return [f"skipped {len(missing)} images that are listed but are not there; the first: {missing[0]}"] if missing else []


def _class_names(train: Named, *, numbers: bool) -> tuple[str, ...]:
    """Sort the class names; in lists, names that are all numbers are sorted as such and must be 0, 1, 2, ..."""
    names = {label for _, label in train}
    if not numbers or not all(name.isascii() and name.isdecimal() and str(int(name)) == name for name in names):
        return tuple(sorted(names))
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
                    f"data: {split} has class {label!r} ({path}), which train lacks: add images of it to train, or remove it"
                )


def _check_files(listed: Mapping[str, Sequence[tuple[Any, ...]]]) -> None:
    """Refuse images that are listed twice, or are not there."""
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
        raise DataError(f"data: {missing[0]}{more}: listed, but not there")


_BOXED_READERS: dict[str, Callable[[Data], tuple[dict[str, list[Described]], list[str]]]] = {
    "coco": read_coco, "voc": read_voc, "scenes": read_scenes,
}  # fmt: skip
