"""The image store: a split's images decoded once, as uint8 with their shorter side at a chosen size, memory-mapped."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from pixeldistill.archive import KEY, Archive, Layout
from pixeldistill.data.images import image_size, read_image
from pixeldistill.data.loading import load
from pixeldistill.data.sources import Sample
from pixeldistill.data.views import jpeg_reduction, resize_image
from pixeldistill.errors import PixelDistillError, RunError
from pixeldistill.wording import in_bytes

BLOCK = 64  # images
SAMPLES = 8
TOLERANCE = 1.0  # mean grey levels: another version of a decoder may round otherwise


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

    def __reduce__(self) -> tuple[Any, ...]:
        """Let worker processes map the file themselves, where they are not forked."""
        return _reopened, (str(cast(Any, self.pixels).filename), self.sizes)


def _reopened(path: str, sizes: NDArray[np.int64]) -> ImageStore:
    return ImageStore(np.load(path, mmap_mode="r", allow_pickle=False), sizes)


def open_store(
    folder: Path,
    samples: Sequence[Sample],
    images: Mapping[str, Any],
    *,
    side: int,
    kernel: str,
    workers: int,
    note: Callable[[str], None],
    reduced: bool = True,
    rank: int = 0,
    world: int = 1,
    barrier: Callable[[], None] = lambda: None,
) -> ImageStore:
    """Open a split's store, fill what is missing of it, and compare some of its images with their files.

    Args:
        folder: where it lies.
        samples: the split's images.
        images: what identifies them, see `Splits.identity`.
        side: of the stored images, the shorter one, in pixels.
        kernel: with which they are reduced.
        workers: loader processes.
        note: where to say what will be written.
        reduced: whether JPEGs may be decoded at the reduced scale that the side needs.
        rank: of this process.
        world: how many processes share the work.
        barrier: waits for all of them.

    Raises:
        RunError: the folder belongs to other images, does not hold what the files do, or has no room.
        DataError: an image that cannot be read.
    """
    with ThreadPoolExecutor(max(1, workers)) as pool:
        sizes = np.array([stored_size(*size, side) for size in pool.map(image_size, (s.path for s in samples))], dtype=np.int64)
    total = int(_bytes(sizes).sum())
    blocks = [range(i, min(i + BLOCK, len(samples))) for i in range(0, len(samples), BLOCK)]
    key = store_settings(side, kernel, reduced=reduced) | {"images": dict(images)}

    def attach(create: bool = False) -> Archive:
        layout: Layout = {"pixels": ((total,), np.uint8)}
        return Archive(folder, "image store", "data.store_folder", key, layout, len(blocks), create=create)

    if rank == 0:
        fresh = not (folder / KEY).is_file()
        if fresh:
            note(f"image store: {len(samples)} images, {in_bytes(total)}, in {folder}")
        if (left := attach(create=True).missing()) and not fresh:
            note(f"image store: {len(left)} of {len(blocks)} blocks are still to be filled, in {folder}")
    barrier()
    archive = attach()
    # Which process does what must not depend on how far another one is.
    missing = [block for block in archive.missing() if block % world == rank]
    store = ImageStore(archive["pixels"], sizes)
    dataset = _Reduced([sample.path for sample in samples], sizes, kernel, side, reduced)
    for block, loaded in zip(missing, load(dataset, [list(blocks[b]) for b in missing], workers), strict=True):
        for index, image in zip(blocks[block], loaded, strict=True):
            store[index][...] = image
        archive.finish(block)
    barrier()
    archive = attach()
    archive.require_complete()
    store = ImageStore(archive["pixels"], sizes)
    if rank == 0:
        _verify(store, dataset, folder)
    barrier()
    return store


def store_settings(side: int, kernel: str, *, reduced: bool) -> dict[str, Any]:
    """Give the part of a store's key that the recipe alone decides."""
    return {"format": 3, "side": side, "kernel": kernel, "decode": "reduced" if reduced else "full"}


def _verify(store: ImageStore, dataset: "_Reduced", folder: Path) -> None:
    """Read some images' files again, other ones at every start."""
    chosen = np.random.default_rng().integers(len(store), size=SAMPLES)
    images = dataset[[int(index) for index in chosen]]
    if isinstance(images, PixelDistillError):
        raise images
    for index, image in zip(chosen, images, strict=True):
        difference = np.abs(store[int(index)].astype(int) - image).mean()
        if difference > TOLERANCE:
            raise RunError(
                f"image store {folder} does not hold what {dataset.paths[index]} does, though its key is right: it is damaged; "
                "remove that folder, it will be made again"
            )


class _Reduced(Dataset[list[NDArray[np.uint8]] | PixelDistillError]):
    """Blocks of images at their stored size."""

    def __init__(self, paths: Sequence[Path], sizes: NDArray[np.int64], kernel: str, side: int, reduced: bool) -> None:
        self.paths, self.sizes, self.kernel, self.side, self.reduced = paths, sizes, kernel, side, reduced

    def __getitem__(self, block: Sequence[int]) -> list[NDArray[np.uint8]] | PixelDistillError:
        try:
            return [self._reduced(index) for index in block]
        except PixelDistillError as error:
            return error

    def _reduced(self, index: int) -> NDArray[np.uint8]:
        def reduction(height: int, width: int) -> int:
            return jpeg_reduction(height, width, self.side) if self.reduced else 1

        image = read_image(self.paths[index], reduction)
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
