"""Using a trained network: from files to class probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pixeldistill.data.images import find_images, read_image
from pixeldistill.data.views import camera_view, to_unit
from pixeldistill.errors import DataError, PixelDistillError
from pixeldistill.inputs import Imaging
from pixeldistill.networks.classifier import Classifier, load_classifier
from pixeldistill.networks.weights import find_run, read_card

BATCH = 64


class Prediction(NamedTuple):
    """The likeliest classes of an image with their probabilities, best first; or why it could not be read."""

    path: Path
    classes: tuple[tuple[str, float], ...]
    error: str | None = None


class Predictor:
    """A trained network, ready to be asked.

    Args:
        run: a run folder, or a stage or seed folder in it.
        weights: "last" (what the tables headline) or "best" (chosen by validation).

    Raises:
        WeightsError: no finished training there.
    """

    def __init__(self, run: str | Path, weights: str = "last") -> None:
        self.folder = find_run(Path(run))
        card = read_card(self.folder)
        self.classes: tuple[str, ...] = tuple(card["classes"])
        self.side: int = card["side"]
        self.imaging = Imaging(**card["imaging"])
        self.network: Classifier = load_classifier(self.folder, weights).eval()

    def predict(self, files: Sequence[str | Path], top: int = 5) -> list[Prediction]:
        """Predict image files, and the images in folders, of any size.

        A file that cannot be read gives a prediction without classes and with its `error`.

        Raises:
            DataError: a path that is not there, a folder without images, no path at all.
        """
        paths = [path for name in files for path in _expand(Path(name))]
        if not paths:
            raise DataError("no image to predict")
        predictions: list[Prediction] = []
        for start in range(0, len(paths), BATCH):
            predictions += self._predict_batch(paths[start : start + BATCH], min(top, len(self.classes)))
        return predictions

    @torch.inference_mode()
    def _predict_batch(self, paths: Sequence[Path], top: int) -> list[Prediction]:
        views: list[Tensor] = []
        errors: dict[Path, str] = {}
        for path in paths:
            try:
                views.append(camera_view(read_image(path), self.side, self.imaging))
            except PixelDistillError as error:
                errors[path] = str(error)
        answers = []
        if views:
            values, indices = self.network(to_unit(torch.stack(views))).logits.softmax(dim=1).topk(top)
            answers = [
                tuple((self.classes[i], p) for i, p in zip(row_i, row_p, strict=True))
                for row_i, row_p in zip(indices.tolist(), values.tolist(), strict=True)
            ]
        rest = iter(answers)
        return [Prediction(p, (), errors[p]) if p in errors else Prediction(p, next(rest)) for p in paths]


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        images = find_images(path)
        if not images:
            raise DataError(f"folder {path} holds no image")
        return images
    if not path.exists():
        raise DataError(f"{path} is not there")
    return [path]
