"""From files to batches: what the loader's workers do, and how their 8-bit images become views on the device.

A worker hands an error over as an item rather than raising it, so that the user sees its one line and not a worker's traceback.
"""

import os
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pixeldistill.data.images import check_image, read_image
from pixeldistill.data.sampler import Key
from pixeldistill.data.sources import SPLITS, Sample, Splits
from pixeldistill.data.views import camera_view, draw_crop, large_view, resize, to_unit
from pixeldistill.errors import DataError, PixelDistillError
from pixeldistill.recipe import Data, Imaging, Views
from pixeldistill.types import Batch, View

Item = tuple[dict[int, Tensor], int, int] | PixelDistillError  # ({side: uint8 image}, label, index)
Raw = tuple[dict[int, Tensor], Tensor, Tensor]  # the same, stacked


class TrainingViews(Dataset[Item]):
    """Random views: item `(epoch, index)` is the crop of that image in that epoch, at the large side."""

    def __init__(self, samples: Sequence[Sample], views: Views, side: int, kernel: str) -> None:
        self.samples, self.views, self.side, self.kernel = samples, views, side, kernel

    def __getitem__(self, key: Key) -> Item:
        epoch, index = key
        try:
            image = read_image(self.samples[index].path)
        except PixelDistillError as error:
            return error
        crop = draw_crop(self.views, epoch, index, *image.shape[:2])
        return {self.side: large_view(image, crop, self.side, self.kernel)}, self.samples[index].label, index


class CameraImages(Dataset[Item]):
    """Test images, decoded once and delivered at every side that is asked for."""

    def __init__(self, samples: Sequence[Sample], sides: Iterable[int], imaging: Imaging) -> None:
        self.samples, self.sides, self.imaging = samples, tuple(sorted(set(sides))), imaging

    def __getitem__(self, index: int) -> Item:
        try:
            image = read_image(self.samples[index].path)
        except PixelDistillError as error:
            return error
        return {side: camera_view(image, side, self.imaging) for side in self.sides}, self.samples[index].label, index


def load(dataset: Dataset[Item], batches: Iterable[list[Any]], workers: int) -> Iterator[Raw]:
    """Iterate over batches of a dataset, prepared ahead by worker processes.

    Raises:
        DataError: the first image of a batch that cannot be read.
    """
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_init_worker,
        pin_memory=torch.cuda.is_available(),
    )
    for raw in loader:
        if isinstance(raw, PixelDistillError):
            raise raw
        yield raw


def _collate(items: Sequence[Item]) -> Raw | PixelDistillError:
    good = []
    for item in items:
        if isinstance(item, PixelDistillError):
            return item
        good.append(item)
    images = {side: torch.stack([item[0][side] for item in good]) for side in good[0][0]}
    return images, torch.tensor([item[1] for item in good]), torch.tensor([item[2] for item in good])


def _init_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer: it saves, then ends us


def make_views(large: Tensor, target: Tensor, sides: Mapping[str, int], kernel: str, *, channels_last: bool) -> Batch:
    """Make every role's view from the large one, uint8 (N, 3, S, S), on the device it is on.

    Small views are 8-bit images too, as a camera delivers them.
    """
    images: dict[int, Tensor] = {}
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for side in set(sides.values()):
        images[side] = to_unit(resize(large, side, side, kernel)).contiguous(memory_format=layout)
    return Batch({role: View(images[side], target) for role, side in sides.items()})


def check_images(splits: Splits, data: Data, workers: int) -> Splits:
    """Decode every image once before any work starts.

    Returns:
        The splits, without the broken images if the recipe says `on_bad_image: skip`; a note counts them.

    Raises:
        DataError: naming the first broken image and the number of all.
    """
    paths = [sample.path for name in SPLITS for sample in getattr(splits, name)]
    with ThreadPoolExecutor(max(1, workers)) as pool:  # decoding leaves the interpreter free
        problems = dict(zip(paths, pool.map(check_image, paths), strict=True))
    bad = {path: problem for path, problem in problems.items() if problem}
    if not bad:
        return splits
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
    return splits._replace(**kept, notes=(*splits.notes, f"skipped {len(bad)} bad images; the first: {first}"))


def default_workers() -> int:
    """Loader processes where the user names none: the cores but one, four at most, at least one."""
    return max(1, min(4, len(os.sched_getaffinity(0)) - 1)) if hasattr(os, "sched_getaffinity") else 2
