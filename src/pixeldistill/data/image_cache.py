"""Image cache: a split's images decoded once, as uint8, with a chosen length of the shorter side."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixeldistill.data.images import read_size
from pixeldistill.data.loading import BatchDataset, load
from pixeldistill.data.splits import Sample
from pixeldistill.data.views import jpeg_reduction, resize_image
from pixeldistill.display.text import in_bytes
from pixeldistill.errors import PixelDistillError, RunError
from pixeldistill.storage.archive import KEY, Archive, Column, Layout

BLOCK = 64  # images
SAMPLES = 8
TOLERANCE = 1.0  # mean grey levels: another version of a decoder may round differently


class ImageCache:
    """Stored images by their index in the split, (height, width, 3), uint8, read-only.

    With the cache, crops come from an image of the stored size instead of the original. A smaller image is stored unchanged, so
    that nothing is enlarged twice.
    """

    def __init__(self, pixels: Column, sizes: NDArray[np.int64]) -> None:
        self.pixels, self.sizes = pixels, sizes
        self.starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(_bytes(sizes))])

    def __len__(self) -> int:
        return len(self.sizes)

    def size(self, index: int) -> tuple[int, int]:
        """Return an image's height and width."""
        height, width = self.sizes[index]
        return int(height), int(width)

    def rows(self, index: int, top: int, height: int) -> NDArray[np.uint8]:
        """Return some of an image's rows, (height, width, 3)."""
        width = int(self.sizes[index, 1])
        start = int(self.starts[index]) + 3 * width * top
        return self.pixels.read(start, 3 * width * height).reshape(height, width, 3)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.rows(index, 0, int(self.sizes[index, 0]))

    def write(self, index: int, images: Sequence[NDArray[np.uint8]]) -> None:
        """Store consecutive images, the first one at an index."""
        self.pixels.write(int(self.starts[index]), np.concatenate([image.reshape(-1) for image in images]))


def open_image_cache(
    folder: Path,
    samples: Sequence[Sample],
    images: Mapping[str, Any],
    *,
    shorter_side: int,
    kernel: str,
    workers: int,
    note: Callable[[str], None],
    reduced: bool = True,
    bits: int | None = None,
    rank: int = 0,
    world: int = 1,
    barrier: Callable[[], None] = lambda: None,
) -> ImageCache:
    """Open a split's image cache, fill its missing parts, and compare some of its images with their files.

    Args:
        folder: folder of the cache.
        samples: the split's images.
        images: identity of the images, see `Splits.identity`.
        shorter_side: shorter side of the cached images, in pixels.
        kernel: kernel of the resizing.
        workers: number of loader processes.
        note: called with a message about what will be written.
        reduced: whether JPEGs may be decoded at a reduced scale that is large enough for the stored size.
        bits: the recipe's `data.bits`.
        rank: rank of this process.
        world: number of processes that share the work.
        barrier: waits for all processes.

    Raises:
        RunError: the folder belongs to other images, its content differs from the files, or there is no room.
        DataError: an image cannot be read.
    """
    with ThreadPoolExecutor(max(1, workers)) as pool:
        sizes = np.array(
            [stored_size(*size, shorter_side) for size in pool.map(read_size, (s.path for s in samples))], dtype=np.int64
        )
    total = int(_bytes(sizes).sum())
    blocks = [range(i, min(i + BLOCK, len(samples))) for i in range(0, len(samples), BLOCK)]
    key = image_cache_settings(shorter_side, kernel, reduced=reduced, bits=bits) | {"images": dict(images)}

    def attach(create: bool = False) -> Archive:
        layout: Layout = {"pixels": ((total,), np.uint8)}
        return Archive(folder, "image cache", "data.image_cache_folder", key, layout, len(blocks), create=create, keep=True)

    if rank == 0:
        fresh = not (folder / KEY).is_file()
        if fresh:
            note(f"image cache: {len(samples)} images, {in_bytes(total)}, in {folder}")
        if (left := attach(create=True).missing()) and not fresh:
            note(f"image cache: {len(left)} of {len(blocks)} blocks are still to be filled, in {folder}")
    barrier()
    archive = attach()
    # The division of the blocks must not depend on the progress of another process.
    missing = [block for block in archive.missing() if block % world == rank]
    image_cache = ImageCache(archive["pixels"], sizes)
    dataset = _Reduced(samples, sizes, kernel, shorter_side, reduced)
    for block, loaded in zip(missing, load(dataset, [list(blocks[b]) for b in missing], workers), strict=True):
        image_cache.write(blocks[block][0], loaded)
        archive.finish(block)
    barrier()
    archive = attach()
    archive.require_complete()
    image_cache = ImageCache(archive["pixels"], sizes)
    if rank == 0:
        _verify(image_cache, dataset, folder)
    barrier()
    return image_cache


def image_cache_settings(shorter_side: int, kernel: str, *, reduced: bool, bits: int | None) -> dict[str, Any]:
    """Return the part of an image cache's key that the recipe alone decides."""
    return {"format": 4, "shorter_side": shorter_side, "kernel": kernel, "decode": "reduced" if reduced else "full", "bits": bits}


def _verify(image_cache: ImageCache, dataset: "_Reduced", folder: Path) -> None:
    """Compare some cached images with their files. Each start chooses other images at random."""
    chosen = np.random.default_rng().integers(len(image_cache), size=SAMPLES)
    images = dataset[[int(index) for index in chosen]]
    if isinstance(images, PixelDistillError):
        raise images
    for index, image in zip(chosen, images, strict=True):
        difference = np.abs(image_cache[int(index)].astype(int) - image).mean()
        if difference > TOLERANCE:
            raise RunError(
                f"image cache {folder} does not hold what {dataset.samples[index].path} does, though its key is right: it is "
                "damaged; remove that folder, it will be made again"
            )


class _Reduced(BatchDataset[list[NDArray[np.uint8]]]):
    """Blocks of images at their stored size."""

    def __init__(
        self, samples: Sequence[Sample], sizes: NDArray[np.int64], kernel: str, shorter_side: int, reduced: bool
    ) -> None:
        self.samples, self.sizes, self.kernel, self.shorter_side, self.reduced = samples, sizes, kernel, shorter_side, reduced

    def __getitem__(self, block: Sequence[int]) -> list[NDArray[np.uint8]] | PixelDistillError:
        try:
            return [self._reduced(index) for index in block]
        except PixelDistillError as error:
            return error

    def files(self, block: Sequence[int]) -> list[Path]:
        """Return the files of a block."""
        return [self.samples[index].path for index in block]

    def _reduced(self, index: int) -> NDArray[np.uint8]:
        def reduction(height: int, width: int) -> int:
            return jpeg_reduction(height, width, self.shorter_side) if self.reduced else 1

        image = self.samples[index].read(reduction)
        height, width = (int(n) for n in self.sizes[index])
        return resize_image(image, height, width, self.kernel)


def stored_size(height: int, width: int, shorter_side: int) -> tuple[int, int]:
    """Return the size at which an image is stored.

    >>> stored_size(480, 640, 240), stored_size(100, 300, 240)
    ((240, 320), (100, 300))
    """
    scale = min(1.0, shorter_side / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _bytes(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return 3 * sizes[:, 0] * sizes[:, 1]
