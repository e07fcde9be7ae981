"""The image store: a split's images decoded once, as uint8 with their shorter side at a chosen size, memory-mapped."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from pixeldistill.archive import Archive, in_bytes
from pixeldistill.data.images import image_size, read_image
from pixeldistill.data.loading import load
from pixeldistill.data.sources import Sample
from pixeldistill.data.views import jpeg_reduction, resize_image
from pixeldistill.errors import PixelDistillError

BLOCK = 64  # images


class ImageStore:
    """Stored images by their index in the split: `store[i]` is (height, width, 3), uint8, not to be written to.

    What it changes: crops come from an image of the stored size instead of the original's. An image that is smaller than that is
    stored as it is, so that nothing is enlarged twice.
    """

    def __init__(self, pixels: NDArray[np.uint8], sizes: NDArray[np.int64]) -> None:
        self.pixels, self.sizes = pixels, sizes
        self.ends = np.cumsum(_bytes(sizes))

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        height, width = self.sizes[index]
        end = int(self.ends[index])
        return self.pixels[end - 3 * height * width : end].reshape(height, width, 3)


def open_store(
    folder: Path,
    samples: Sequence[Sample],
    digest: str,
    *,
    side: int,
    kernel: str,
    workers: int,
    note: Callable[[str], None],
    rank: int = 0,
    world: int = 1,
    barrier: Callable[[], None] = lambda: None,
) -> ImageStore:
    """Open a split's store, filling what is missing of it.

    Args:
        folder: where it lies.
        samples: the split's images.
        digest: of their content.
        side: of the stored images, the shorter one, in pixels.
        kernel: with which they are reduced.
        workers: loader processes.
        note: where to say what will be written.
        rank: of this process.
        world: how many processes share the work.
        barrier: waits for all of them.

    Raises:
        RunError: the folder belongs to other images, or has no room.
        DataError: an image that cannot be read.
    """
    with ThreadPoolExecutor(max(1, workers)) as pool:
        sizes = np.array([stored_size(*size, side) for size in pool.map(image_size, (s.path for s in samples))], dtype=np.int64)
    total = int(_bytes(sizes).sum())
    blocks = [range(i, min(i + BLOCK, len(samples))) for i in range(0, len(samples), BLOCK)]

    def attach(create: bool) -> Archive:
        return Archive(
            folder, "image store", "data.store_folder", {"format": 1, "side": side, "kernel": kernel, "images": digest},
            {"pixels": ((total,), np.uint8)}, len(blocks), create=create,
        )  # fmt: skip

    if rank == 0:
        if not folder.exists():
            note(f"image store: {len(samples)} images, {in_bytes(total)}, in {folder}")
        attach(create=True)
    barrier()
    archive = attach(create=False)
    store = ImageStore(archive["pixels"], sizes)
    missing = archive.missing(rank, world)
    dataset = _Reduced([sample.path for sample in samples], sizes, kernel, side)
    for block, images in zip(missing, load(dataset, [list(blocks[b]) for b in missing], workers), strict=True):
        for index, image in zip(blocks[block], images, strict=True):
            store[index][...] = image
        archive.finish(block)
    barrier()
    return store


class _Reduced(Dataset[list[NDArray[np.uint8]] | PixelDistillError]):
    """Blocks of images at their stored size."""

    def __init__(self, paths: Sequence[Path], sizes: NDArray[np.int64], kernel: str, side: int) -> None:
        self.paths, self.sizes, self.kernel, self.side = paths, sizes, kernel, side

    def __getitem__(self, block: Sequence[int]) -> list[NDArray[np.uint8]] | PixelDistillError:
        try:
            return [self._reduced(index) for index in block]
        except PixelDistillError as error:
            return error

    def _reduced(self, index: int) -> NDArray[np.uint8]:
        image = read_image(self.paths[index], lambda height, width: jpeg_reduction(height, width, self.side))
        height, width = (int(n) for n in self.sizes[index])
        return resize_image(image, height, width, self.kernel)


def stored_size(height: int, width: int, side: int) -> tuple[int, int]:
    """Give the size at which an image is stored.

    >>> stored_size(480, 640, 240), stored_size(100, 300, 240)
    ((240, 320), (100, 300))
    """
    scale = min(1.0, side / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _bytes(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return 3 * sizes[:, 0] * sizes[:, 1]
