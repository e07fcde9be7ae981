"""Datasets for the loader's workers: 8-bit batches from files or from an image cache."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixeldistill.data.camera import photograph
from pixeldistill.data.crops import Crop, draw_crop
from pixeldistill.data.image_cache import ImageCache
from pixeldistill.data.labels import Label
from pixeldistill.data.loading import BatchDataset
from pixeldistill.data.mixing import draw_mix, mix_images
from pixeldistill.data.randaugment import alter
from pixeldistill.data.sampler import Key
from pixeldistill.data.splits import Sample
from pixeldistill.data.views import jpeg_reduction, resize, to_tensor
from pixeldistill.errors import PixelDistillError
from pixeldistill.recipe.camera import Camera, InputSpec
from pixeldistill.recipe.data import Augmentation
from pixeldistill.types import BoxTarget

Target = Tensor | BoxTarget
Collate = Callable[[Sequence[Label], Sequence[Crop], Sequence[tuple[int, int]], int, float | None], Target]
TestView = Callable[[NDArray[np.uint8], int, Camera], Tensor]
CroppedPart = tuple[NDArray[np.uint8], Crop, tuple[int, int]]  # a part of an image, its crop, the size of that image


class RawBatch(NamedTuple):
    """Batch of 8-bit images as a worker returns it.

    `images`: uint8 (N, 3, H, W). `target`: class indices (N,), or the objects in each image. `keys`: (N, 2), epoch and index.
    `windows`: None if the images are finished. Otherwise (N, 3): height and width of the crop in the upper left of each image,
    which is still to be resized, and whether it is to be flipped; see `views.resize_batch`. `small`: the views of cameras that
    alter images, uint8 (N, 3, S, S) each. `mixed`: of mixed views, the partners' targets, and the share (N,) that each keeps.
    """

    images: Tensor
    target: Target
    keys: Tensor
    windows: Tensor | None = None
    small: tuple[Tensor, ...] = ()
    mixed: tuple[Target, Tensor] | None = None


class TrainingViews(BatchDataset[RawBatch]):
    """Random views: item `[(epoch, index), ...]` is a batch of these images' crops in these epochs, at the large image size.

    Args:
        samples: the training split.
        augmentation: settings of the random crops.
        crop_size: size of the large view in pixels.
        kernel: kernel of the resizing.
        collate: makes the target of a batch of views, see `tasks.base.Task.collate`.
        distinct: number of epochs after which the views repeat.
        reduced: whether JPEGs may be decoded at a reduced scale that is large enough for the crop.
        image_cache: cache of decoded images.
        finished: whether the worker resizes and flips the crops, or leaves that to the device.
        input_specs: cameras that alter images. Their views are made here.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        augmentation: Augmentation,
        crop_size: int,
        kernel: str,
        collate: Collate,
        *,
        distinct: int | None = None,
        reduced: bool = True,
        image_cache: ImageCache | None = None,
        finished: bool = True,
        input_specs: Sequence[InputSpec] = (),
    ) -> None:
        self.samples, self.augmentation, self.crop_size, self.kernel = samples, augmentation, crop_size, kernel
        self.collate, self.distinct, self.reduced, self.image_cache = collate, distinct, reduced, image_cache
        self.finished = finished or bool(input_specs or augmentation.mixes or augmentation.randaugment)
        self.input_specs = tuple(input_specs)

    def __getitem__(self, keys: Sequence[Key]) -> RawBatch | PixelDistillError:
        try:
            crops = [self._crop(*key) for key in keys]
            images = self._render(keys, crops) if self.finished else None
            mixed = self._mix(images, keys) if images is not None and self.augmentation.mixes else None
        except PixelDistillError as error:
            return error
        target = self._target(keys, crops)
        if images is not None:
            small = tuple(self._taken(images, keys, c) for c in self.input_specs)
            return RawBatch(images, target, torch.tensor(keys), small=small, mixed=mixed)
        height, width = (max(part.shape[axis] for part, _, _ in crops) for axis in (0, 1))
        batch = np.zeros((len(crops), height, width, 3), np.uint8)
        for row, (part, _, _) in zip(batch, crops, strict=True):
            row[: part.shape[0], : part.shape[1]] = part
        windows = torch.tensor([[*part.shape[:2], crop.flip] for part, crop, _ in crops])
        return RawBatch(torch.from_numpy(batch).permute(0, 3, 1, 2), target, torch.tensor(keys), windows)

    def files(self, keys: Sequence[Key]) -> list[Path]:
        """Return the files of a batch."""
        return [self.samples[index].path for _, index in keys]

    def _render(self, keys: Sequence[Key], crops: Sequence[CroppedPart]) -> Tensor:
        """Resize, flip and alter crops: uint8 (N, 3, S, S)."""
        size = (len(crops), 3, self.crop_size, self.crop_size)
        images = torch.empty(size, dtype=torch.uint8, memory_format=torch.channels_last)
        for row, (epoch, index), (part, crop, _) in zip(images, keys, crops, strict=True):
            view = resize(to_tensor(part), self.crop_size, self.crop_size, self.kernel)
            view = view.flip(-1) if crop.flip else view  # ten times as fast as NumPy's view[:, ::-1]
            row.copy_(alter(view, self.augmentation, self._view(epoch), index) if self.augmentation.randaugment else view)
        return images

    def _target(self, keys: Sequence[Key], crops: Sequence[CroppedPart]) -> Target:
        labels = [self.samples[index].label for _, index in keys]
        return self.collate(
            labels, [crop for _, crop, _ in crops], [of for _, _, of in crops], self.crop_size, self.augmentation.visible
        )

    def _mix(self, images: Tensor, keys: Sequence[Key]) -> tuple[Target, Tensor]:
        """Mix views, in place. Return the partners' targets, and the share that each view keeps."""
        mixes = [draw_mix(self.augmentation, self._view(e), i, len(self.samples), self.crop_size) for e, i in keys]
        others = [(epoch, mix.partner) for (epoch, _), mix in zip(keys, mixes, strict=True)]
        crops = [self._crop(*key) for key in others]
        mix_images(images, self._render(others, crops), mixes)
        return self._target(others, crops), torch.tensor([mix.share for mix in mixes])

    def _taken(self, large: Tensor, keys: Sequence[Key], input_spec: InputSpec) -> Tensor:
        """Make a camera's views of large ones (N, 3, S, S). The noise's seed is view seed, epoch and index."""
        small = resize(large, input_spec.image_size, input_spec.image_size, input_spec.camera.kernel)
        seeds = [(self.augmentation.seed, _NOISE, self._view(epoch), index) for epoch, index in keys]
        return torch.stack([_photographed(view, input_spec.camera, seed) for view, seed in zip(small, seeds, strict=True)])

    def _view(self, epoch: int) -> int:
        return epoch % self.distinct if self.distinct else epoch

    def _crop(self, epoch: int, index: int) -> CroppedPart:
        """Cut a view's crop out of its image, (h, w, 3). Return the part, the crop, and the size of that image."""
        view = self._view(epoch)
        if self.image_cache is not None:
            of = self.image_cache.size(index)
            crop = draw_crop(self.augmentation, view, index, *of)
            return self.image_cache.rows(index, crop.top, crop.height)[:, crop.left : crop.left + crop.width], crop, of
        drawn: dict[tuple[int, int], Crop] = {}

        def reduction(height: int, width: int) -> int:
            crop = drawn[height, width] = draw_crop(self.augmentation, view, index, height, width)
            return jpeg_reduction(crop.height, crop.width, self.crop_size) if self.reduced else 1

        image = self.samples[index].read(reduction)
        ((of, crop),) = drawn.items()
        crop = crop.within(image.shape[0], image.shape[1], of)
        part = image[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
        return part, crop, (image.shape[0], image.shape[1])


_NOISE = 2  # separates the noise's random numbers from those of the crops and of mixup


def _photographed(view: Tensor, camera: Camera, seed: Sequence[int]) -> Tensor:
    return to_tensor(photograph(view.permute(1, 2, 0).contiguous().numpy(), camera, seed))


class CameraImages(BatchDataset[RawBatch]):
    """Test images as a camera delivers them: item `[index, ...]` is a batch.

    Batches hold no labels. The metrics read the labels from the samples.

    Args:
        samples: a split.
        input_spec: camera that delivers the images.
        view: makes the test view of an image, see `tasks.base.Task.view`.
    """

    def __init__(self, samples: Sequence[Sample], input_spec: InputSpec, view: TestView) -> None:
        self.samples, self.input_spec, self.view = samples, input_spec, view

    def __getitem__(self, indices: Sequence[int]) -> RawBatch | PixelDistillError:
        try:
            seen = [self.view(self.samples[i].read(), *self.input_spec) for i in indices]
            seeds = [(_NOISE, i) for i in indices]
            images = torch.stack(
                [_photographed(image, self.input_spec.camera, seed) for image, seed in zip(seen, seeds, strict=True)]
            )
        except PixelDistillError as error:
            return error
        return RawBatch(images, torch.full((len(indices),), -1), torch.tensor([(0, i) for i in indices]))

    def files(self, indices: Sequence[int]) -> list[Path]:
        """Return the files of a batch."""
        return [self.samples[i].path for i in indices]
