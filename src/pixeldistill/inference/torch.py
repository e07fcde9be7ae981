"""Inference with a trained network by PyTorch: from files to class probabilities, or to objects."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixeldistill.data.camera import photograph
from pixeldistill.data.views import to_tensor, to_unit
from pixeldistill.inference.results import list_images, read_images
from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.card import read_card
from pixeldistill.storage.run_folder import PREDICTIONS, find_run
from pixeldistill.tasks import task_of
from pixeldistill.tasks.base import Result
from pixeldistill.tasks.networks import load_trained

BATCH = 64


class Predictor:
    """A trained network, ready to predict.

    Args:
        run: a run folder, or a stage or seed folder in it.
        weights: "last" (the tables' main result) or "best" (chosen by validation).

    Raises:
        WeightsError: there is no finished training.
    """

    def __init__(self, run: str | Path, weights: str = "last") -> None:
        self.folder = find_run(Path(run))
        card = read_card(self.folder)
        self.task, self.classes, self.image_size, self.bits, self.camera = (
            task_of(card),
            card.classes,
            card.image_size,
            card.bits,
            card.camera,
        )
        self.network: Adapter = load_trained(self.folder, weights).eval()
        self.title, self.pictures = f"{self.folder}, {weights} epoch", self.folder / PREDICTIONS

    def predict(self, files: Sequence[str | Path], top: int = 5, min_score: float = 0.3) -> list[Result]:
        """Predict image files, and the images in folders, of any size.

        Args:
            files: paths of images, and of folders of images.
            top: for a classifier, the number of classes to return.
            min_score: for a detector, objects with a lower probability are not returned. Below 0.05 there are none.

        Returns:
            For each image a `ClassificationResult` with its likeliest classes, or a `DetectionResult` with the objects in it.
            For an image that cannot be read, only its `error`.

        Raises:
            DataError: a path does not exist, a folder holds no images, or there is no path.
        """
        paths, results = list_images(files), []
        for start in range(0, len(paths), BATCH):
            results += list(self._results(paths[start : start + BATCH], top, min_score))
        return results

    def _results(self, paths: Sequence[Path], top: int, min_score: float) -> Iterator[Result]:
        views: list[Tensor] = []  # photographs are large, so only the views are kept
        sizes: list[tuple[int, int]] = []
        errors: dict[Path, str | None] = {}
        for path, image, error in read_images(paths, self.bits):
            if image is None:
                errors[path] = error
            else:
                views.append(self._received(self.task.view(image, self.image_size, self.camera)))
                sizes.append((image.shape[0], image.shape[1]))
        predictions = iter(self._predictions(views, sizes))
        for path in paths:
            if path in errors:
                yield self.task.unreadable(path, errors[path] or "")
            else:
                yield self.task.result(path, next(predictions), self.classes, top, min_score)

    @torch.inference_mode()
    def _predictions(self, views: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[Any]:
        """Return a prediction for each view of images with given sizes."""
        predictions: list[Any] = []
        together = self.task.together(BATCH)
        for start in range(0, len(views), together):
            part = torch.stack(list(views[start : start + together]))
            view = (part.shape[2], part.shape[3])
            outputs = self.network(to_unit(part))
            predictions += self.task.postprocess(self.network, outputs, view, sizes[start : start + together])
        return predictions

    def _received(self, view: Tensor) -> Tensor:
        """Apply the parts of the camera that a sent file still needs: only the conversion to grey, not noise and codec."""
        return to_tensor(photograph(view.permute(1, 2, 0).contiguous().numpy(), self.camera.received, ()))
