"""Using a trained network by PyTorch: from files to class probabilities, or to objects."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pixeldistill.answers import Detection, FoundObject, Prediction, list_images, read_images
from pixeldistill.cards import read_card
from pixeldistill.data.camera import photograph
from pixeldistill.data.views import camera_view, to_tensor, to_unit, whole_view
from pixeldistill.errors import RunError
from pixeldistill.networks.detector import Detector
from pixeldistill.networks.trained import AnyNetwork, load_trained
from pixeldistill.run_folder import find_run
from pixeldistill.tasks.detection import find_objects, to_original

BATCH = 64


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
        self.classes, self.side, self.bits, self.imaging = card.classes, card.side, card.bits, card.imaging
        self.network: AnyNetwork = load_trained(self.folder, weights).eval()
        self.title, self.pictures = f"{self.folder}, {weights} epoch", self.folder / "predictions"

    @property
    def detects(self) -> bool:
        """Whether it finds objects (`detect`) rather than classes of whole images (`predict`)."""
        return isinstance(self.network, Detector)

    def predict(self, files: Sequence[str | Path], top: int = 5) -> list[Prediction]:
        """Classify image files, and the images in folders, of any size.

        A file that cannot be read gives a prediction without classes and with its `error`.

        Raises:
            DataError: a path that is not there, a folder without images, no path at all.
            RunError: the network is a detector.
        """
        if self.detects:
            raise RunError(f"{self.folder} trained a detector: ask it to `detect`")
        paths = list_images(files)
        predictions: list[Prediction] = []
        for start in range(0, len(paths), BATCH):
            predictions += self._predict_batch(paths[start : start + BATCH], min(top, len(self.classes)))
        return predictions

    @torch.inference_mode()
    def detect(self, files: Sequence[str | Path], least: float = 0.3) -> list[Detection]:
        """Find the objects in image files, and in the images of folders, of any size.

        Args:
            files: paths.
            least: probability below which an object is not told of.

        Raises:
            DataError: a path that is not there, a folder without images, no path at all.
            RunError: the network is a classifier.
        """
        if not isinstance(self.network, Detector):
            raise RunError(f"{self.folder} trained a classifier: ask it to `predict`")
        detections = []
        for path, image, error in read_images(files, self.bits):
            if image is None:
                detections.append(Detection(path, (), error))
                continue
            view = to_unit(self._received(whole_view(image, self.side, self.imaging)).unsqueeze(0))
            (found,) = find_objects(self.network(view), self.network.settings, view.shape[2:])
            boxes = to_original(found.boxes, view.shape[2:], image.shape[:2]).tolist()
            objects = tuple(
                FoundObject(self.classes[label], score, (box[0], box[1], box[2], box[3]))
                for box, score, label in zip(boxes, found.scores.tolist(), found.labels.tolist(), strict=True)
                if score >= least
            )
            detections.append(Detection(path, objects))
        return detections

    def _received(self, view: Tensor) -> Tensor:
        """Take a file for what the camera has sent: its colours may still go, its noise and its codec have been at work."""
        return to_tensor(photograph(view.permute(1, 2, 0).contiguous().numpy(), self.imaging.received, ()))

    @torch.inference_mode()
    def _predict_batch(self, paths: Sequence[Path], top: int) -> list[Prediction]:
        views: list[Tensor] = []
        errors: dict[Path, str | None] = {}
        for path, image, error in read_images(paths, self.bits):
            if image is None:
                errors[path] = error
            else:
                views.append(self._received(camera_view(image, self.side, self.imaging)))
        answers = []
        if views:
            values, indices = self.network(to_unit(torch.stack(views))).logits.softmax(dim=1).topk(top)
            answers = [
                tuple((self.classes[i], p) for i, p in zip(row_i, row_p, strict=True))
                for row_i, row_p in zip(indices.tolist(), values.tolist(), strict=True)
            ]
        rest = iter(answers)
        return [Prediction(p, (), errors[p]) if p in errors else Prediction(p, next(rest)) for p in paths]
