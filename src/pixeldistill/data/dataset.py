"""From files, or from a store, to 8-bit batches: what the loader's workers do."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixeldistill.data.camera import photograph
from pixeldistill.data.crops import Crop, draw_crop
from pixeldistill.data.labels import Label
from pixeldistill.data.loading import Prepared
from pixeldistill.data.sampler import Key
from pixeldistill.data.splits import Sample
from pixeldistill.data.store import ImageStore
from pixeldistill.data.views import jpeg_reduction, resize, to_tensor
from pixeldistill.errors import PixelDistillError
from pixeldistill.recipe.camera import Camera, Imaging
from pixeldistill.recipe.data import Views
from pixeldistill.types import BoxTarget

Target = Tensor | BoxTarget
Collate = Callable[[Sequence[Label], Sequence[Crop], Sequence[tuple[int, int]], int, float | None], Target]
TestView = Callable[[NDArray[np.uint8], int, Imaging], Tensor]


class Raw(NamedTuple):
    """A batch of 8-bit images as a worker hands it over.

    `images`: uint8 (N, 3, H, W). `target`: class indices (N,), or the objects that each shows. `keys`: (N, 2), epoch and index.
    `windows`: None where the images are finished; else (N, 3), of each the height and width of the crop in the upper left of its
    image, still to be resized, and whether it is to be flipped: see `views.resize_batch`. `small`: the views of cameras that
    alter images, of each uint8 (N, 3, side, side).
    """

    images: Tensor
    target: Target
    keys: Tensor
    windows: Tensor | None = None
    small: tuple[Tensor, ...] = ()


class TrainingViews(Prepared[Raw]):
    """Random views: item `[(epoch, index), ...]` is a batch of those images' crops in those epochs, at the large side.

    Args:
        samples: the training split.
        views: how the crops are drawn.
        side: of the large view.
        kernel: of the resizing.
        collate: makes the target of a batch of views: see `tasks.base.Task.collate`.
        distinct: after so many epochs the views repeat.
        reduced: whether JPEGs may be decoded at the reduced scale that the crop needs.
        store: where the images are kept decoded.
        finished: whether the worker resizes and flips the crops, or leaves that to the device.
        cameras: those that alter images: their views are made here.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        views: Views,
        side: int,
        kernel: str,
        collate: Collate,
        *,
        distinct: int | None = None,
        reduced: bool = True,
        store: ImageStore | None = None,
        finished: bool = True,
        cameras: Sequence[Camera] = (),
    ) -> None:
        self.samples, self.views, self.side, self.kernel, self.collate = samples, views, side, kernel, collate
        self.distinct, self.reduced, self.store, self.finished = distinct, reduced, store, finished or bool(cameras)
        self.cameras = tuple(cameras)

    def __getitem__(self, keys: Sequence[Key]) -> Raw | PixelDistillError:
        try:
            crops = [self._crop(*key) for key in keys]
        except PixelDistillError as error:
            return error
        labels = [self.samples[index].label for _, index in keys]
        target = self.collate(labels, [crop for _, crop, _ in crops], [of for _, _, of in crops], self.side, self.views.visible)
        if self.finished:
            size = (len(crops), 3, self.side, self.side)
            images = torch.empty(size, dtype=torch.uint8, memory_format=torch.channels_last)
            for row, (part, crop, _) in zip(images, crops, strict=True):
                view = resize(to_tensor(part), self.side, self.side, self.kernel)
                row.copy_(view.flip(-1) if crop.flip else view)  # in a tenth of the time of NumPy's view[:, ::-1]
            return Raw(images, target, torch.tensor(keys), small=tuple(self._taken(images, keys, c) for c in self.cameras))
        height, width = (max(part.shape[axis] for part, _, _ in crops) for axis in (0, 1))
        batch = np.zeros((len(crops), height, width, 3), np.uint8)
        for row, (part, _, _) in zip(batch, crops, strict=True):
            row[: part.shape[0], : part.shape[1]] = part
        windows = torch.tensor([[*part.shape[:2], crop.flip] for part, crop, _ in crops])
        return Raw(torch.from_numpy(batch).permute(0, 3, 1, 2), target, torch.tensor(keys), windows)

    def files(self, keys: Sequence[Key]) -> list[Path]:
        """Name the files of a batch."""
        return [self.samples[index].path for _, index in keys]

    def _taken(self, large: Tensor, keys: Sequence[Key], camera: Camera) -> Tensor:
        """Make a camera's views of large ones (N, 3, S, S): its noise is drawn from the view seed, the epoch and the index."""
        small = resize(large, camera.side, camera.side, camera.imaging.kernel)
        seeds = [(self.views.seed, _NOISE, self._view(epoch), index) for epoch, index in keys]
        return torch.stack([_photographed(view, camera.imaging, seed) for view, seed in zip(small, seeds, strict=True)])

    def _view(self, epoch: int) -> int:
        return epoch % self.distinct if self.distinct else epoch

    def _crop(self, epoch: int, index: int) -> tuple[NDArray[np.uint8], Crop, tuple[int, int]]:
        """Cut a view's crop out of its image, (h, w, 3); returns the crop too, and the size of that image."""
        view = self._view(epoch)
        if self.store is not None:
            of = self.store.size(index)
            crop = draw_crop(self.views, view, index, *of)
            return self.store.rows(index, crop.top, crop.height)[:, crop.left : crop.left + crop.width], crop, of
        drawn: dict[tuple[int, int], Crop] = {}

        def reduction(height: int, width: int) -> int:
            crop = drawn[height, width] = draw_crop(self.views, view, index, height, width)
            return jpeg_reduction(crop.height, crop.width, self.side) if self.reduced else 1

        image = self.samples[index].read(reduction)
        ((of, crop),) = drawn.items()
        crop = crop.within(image.shape[0], image.shape[1], of)
        part = image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
        return part, crop, (image.shape[0], image.shape[1])


_NOISE = 2  # tells the noise's random numbers from those of the crops and of mixup


def _photographed(view: Tensor, imaging: Imaging, seed: Sequence[int]) -> Tensor:
    return to_tensor(photograph(view.permute(1, 2, 0).contiguous().numpy(), imaging, seed))


class CameraImages(Prepared[Raw]):
    """Test images as a camera delivers them: item `[index, ...]` is a batch.

    What the images show is not handed over: it is looked up where predictions are measured.

    Args:
        samples: a split.
        camera: what delivers them.
        view: makes the test view of an image: see `tasks.base.Task.view`.
    """

    def __init__(self, samples: Sequence[Sample], camera: Camera, view: TestView) -> None:
        self.samples, self.camera, self.view = samples, camera, view

    def __getitem__(self, indices: Sequence[int]) -> Raw | PixelDistillError:
        try:
            seen = [self.view(self.samples[i].read(), *self.camera) for i in indices]
            seeds = [(_NOISE, i) for i in indices]
            images = torch.stack(
                [_photographed(image, self.camera.imaging, seed) for image, seed in zip(seen, seeds, strict=True)]
            )
        except PixelDistillError as error:
            return error
        return Raw(images, torch.full((len(indices),), -1), torch.tensor([(0, i) for i in indices]))

    def files(self, indices: Sequence[int]) -> list[Path]:
        """Name the files of a batch."""
        return [self.samples[i].path for i in indices]
