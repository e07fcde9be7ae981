"""Inference with an exported file: from images to predictions with ONNX Runtime alone. No torch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pixeldistill.display.text import printable, shown
from pixeldistill.errors import ExportError, nearest
from pixeldistill.inference.results import read_images
from pixeldistill.recipe.base import ImageSize
from pixeldistill.tasks import TASKS
from pixeldistill.tasks.base import Result

CARD = "pixeldistill"  # key of the card in a file's metadata
FORMAT = 2

Pixels = NDArray[np.uint8]


def open_session(model: Path | bytes, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Open a model for ONNX Runtime on the CPU, with a number of threads (by default all cores)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # its errors are raised, so its log is not needed
    if threads:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(
        model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
    )


def _known_task(name: str) -> str:
    if name not in TASKS:
        raise ValueError(f"{shown(name)} is not valid, {nearest(name, TASKS)}")
    return name


class _Card(BaseModel):
    """Fields of a file's card that must be valid to use the file. The other fields are for the user."""

    model_config = ConfigDict(extra="allow")

    format: Literal[2]
    task: Annotated[str, AfterValidator(_known_task)]
    classes: tuple[str, ...] = Field(min_length=1)
    image_size: ImageSize
    bits: int | None = Field(None, ge=8, le=16)


def read_card(session: onnxruntime.InferenceSession, name: str) -> dict[str, Any]:
    """Read the card of a file. Raise ExportError if pixeldistill did not write the file."""
    text = session.get_modelmeta().custom_metadata_map.get(CARD)
    if text is None:
        raise ExportError(f"{name} was not made by `pixeldistill export`: it does not say what it answers")
    try:
        return _Card.model_validate(json.loads(text)).model_dump(mode="json")
    except (ValidationError, ValueError, RecursionError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        what = printable(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")[:160]
        raise ExportError(f"{name} was not made by this version of `pixeldistill export`: its card says {what}") from error


class ExportedModel:
    """An exported file, ready to predict.

    Args:
        path: the ONNX file.
        threads: number of threads for one image. By default all cores.

    Raises:
        ExportError: the file does not exist, is no ONNX file, or was not written by pixeldistill.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        path = Path(path)
        if not path.is_file():
            raise ExportError(f"{path} is not there: `pixeldistill export RUN` makes such a file")
        try:
            self.session = open_session(path, threads)
        except Exception as error:  # ONNX Runtime's own errors have no common base
            raise ExportError(f"{path} is no ONNX file that can be run: {_first_line(error)}") from error
        self.card = read_card(self.session, str(path))
        self.task = TASKS[self.card["task"]]
        takes = [(node.name, node.type, len(node.shape)) for node in self.session.get_inputs()]
        predictions = [node.name for node in self.session.get_outputs()]
        if takes != [("image", "tensor(uint8)", 4)] or tuple(predictions) != self.task.outputs:
            raise ExportError(f"{path} was not made by `pixeldistill export`: it takes {takes} and answers {predictions}")
        self.title, self.bits = str(path), self.card.get("bits")
        self.classes: tuple[str, ...] = tuple(self.card["classes"])
        self.pictures = path.with_name(f"{path.stem}-predictions")

    def run(self, images: Pixels) -> list[NDArray[Any]]:
        """Run the model on images (N, H, W, 3). Return probabilities (N, classes); or boxes, probabilities, classes, images."""
        try:
            predictions = [np.asarray(output) for output in self.session.run(None, {"image": images})]
        except Exception as error:  # ONNX Runtime's own error
            raise ExportError(f"{self.title} cannot be run: {_first_line(error)}") from error
        if not self.task.check_outputs(predictions, len(images), len(self.classes)):
            raise ExportError(f"{self.title} does not answer what its card says: it was not made by `pixeldistill export`")
        return predictions

    def predict(self, files: Sequence[str | Path], top: int = 5, min_score: float = 0.3) -> list[Result]:
        """Predict image files, and the images in folders, of any size. See `torch.Predictor`."""
        results = []
        for path, image, error in read_images(files, self.bits):
            if image is None:
                results.append(self.task.unreadable(path, error or ""))
                continue
            (prediction,) = self.task.split_outputs(self.run(self.task.prepare_image(image)[None]), 1)
            results.append(self.task.result(path, prediction, self.classes, top, min_score))
        return results


def _first_line(error: Exception) -> str:
    return printable((str(error).splitlines() or [type(error).__name__])[0])[:160]
