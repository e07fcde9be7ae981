"""Checking every image before any work starts."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pixeldistill.data.images import check_image
from pixeldistill.data.sources import SPLITS, Splits
from pixeldistill.errors import DataError
from pixeldistill.recipe import Data


def check_images(splits: Splits, data: Data, workers: int) -> Splits:
    """Read every image once: decode it, and take a hash of its content.

    Returns:
        The splits with their content known, without the broken images if the recipe says `on_bad_image: skip`; notes count
        those, and images that are in two splits byte for byte.

    Raises:
        DataError: naming the first broken image and the number of all.
    """
    paths = [sample.path for name in SPLITS for sample in getattr(splits, name)]
    with ThreadPoolExecutor(max(1, workers)) as pool:  # decoding leaves the interpreter free
        found = dict(zip(paths, pool.map(check_image, paths), strict=True))
    bad = {path: problem for path, (_, problem) in found.items() if problem}
    splits = splits._replace(content={path: digest for path, (digest, _) in found.items()})
    if bad:
        splits = _without(splits, bad, data)
    return splits._replace(notes=(*splits.notes, *_shared(splits)))


def _without(splits: Splits, bad: dict[Path, str], data: Data) -> Splits:
    first = next(iter(bad.values()))
    if data.on_bad_image == "error":
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise DataError(f"data: {first}{more}, or set data.on_bad_image to skip")
    kept = {name: tuple(s for s in getattr(splits, name) if s.path not in bad) for name in SPLITS}
    for name in SPLITS:
        if getattr(splits, name) and not kept[name]:
            raise DataError(f"data: no image of the {name} split can be read; the first: {first}")
    lost = set(range(len(splits.classes))) - {sample.label for sample in kept["train"]}
    if lost:
        raise DataError(f"data: no image of class {splits.classes[min(lost)]!r} in train can be read; the first: {first}")
    return splits._replace(
        train=kept["train"], val=kept["val"], test=kept["test"],
        notes=(*splits.notes, f"skipped {len(bad)} bad images; the first: {first}"),
    )  # fmt: skip


def _shared(splits: Splits) -> list[str]:
    """Warn of test or validation images that train holds too, under whatever name."""
    train = {splits.content[s.path]: s.path for s in splits.train}
    notes = []
    for name in ("val", "test"):
        twins = [(s.path, train[splits.content[s.path]]) for s in getattr(splits, name) if splits.content[s.path] in train]
        if twins:
            notes.append(
                f"warning: {len(twins)} images of {name} are in train too, byte for byte (the first: {twins[0][0]} is "
                f"{twins[0][1]}): figures on them are too good; remove them from one of the two"
            )
    copies = sum(count - 1 for count in Counter(splits.content[s.path] for s in splits.train).values())
    return [*notes, f"train holds {copies} exact copies of its own images"] if copies else notes
