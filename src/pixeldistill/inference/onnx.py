"""Using an exported file: from images to answers with ONNX Runtime alone. No torch."""

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

CARD = "pixeldistill"  # the name under which a file's metadata holds its card
FORMAT = 2

Pixels = NDArray[np.uint8]


def open_session(model: Path | bytes, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Open a model for ONNX Runtime on the CPU, with so many threads (by default all cores)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is said by the errors that it raises
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
    """What must be right in a file's card for the file to be used; the rest is for the user."""

    model_config = ConfigDict(extra="allow")

    format: Literal[2]
    task: Annotated[str, AfterValidator(_known_task)]
    classes: tuple[str, ...] = Field(min_length=1)
    image_size: ImageSize
    bits: int | None = Field(None, ge=8, le=16)


def read_card(session: onnxruntime.InferenceSession, name: str) -> dict[str, Any]:
    """Read what a file says of its network. Raises ExportError for a file that is none of ours."""
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
    """An exported file, ready to be asked.

    Args:
        path: the ONNX file.
        threads: for one image; by default all cores.

    Raises:
        ExportError: no such file, no ONNX file, or none of ours.
    """

    def __init__(self, path: str | Path, threads: int | None = None) -> None:
        path = Path(path)
        if not path.is_file():
            raise ExportError(f"{path} is not there: `pixeldistill export RUN` makes such a file")
        try:
            self.session = open_session(path, threads)
        except Exception as error:  # of ONNX Runtime's own, without a common base
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
        """Ask it of images (N, H, W, 3): probabilities (N, classes); or boxes, probabilities, classes, numbers of the images."""
        try:
            predictions = [np.asarray(output) for output in self.session.run(None, {"image": images})]
        except Exception as error:  # of ONNX Runtime's own
            raise ExportError(f"{self.title} cannot be run: {_first_line(error)}") from error
        if not self.task.check_outputs(predictions, len(images), len(self.classes)):
            raise ExportError(f"{self.title} does not answer what its card says: it was not made by `pixeldistill export`")
        return predictions

    def predict(self, files: Sequence[str | Path], top: int = 5, min_score: float = 0.3) -> list[Result]:
        """Ask about image files, and the images in folders, of any size; see `torch.Predictor`."""
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
