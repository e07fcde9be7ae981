"""Comparison of an exported file with its network on real images, in ONNX Runtime and in PyTorch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from torch import Tensor

from pixeldistill.data.camera import photograph
from pixeldistill.data.images import read_image
from pixeldistill.data.views import to_tensor
from pixeldistill.display.text import in_words
from pixeldistill.errors import ExportError
from pixeldistill.exporting.convert import PREFIX
from pixeldistill.inference.onnx import Pixels, open_session
from pixeldistill.networks.adapter import Adapter
from pixeldistill.recipe.camera import Camera
from pixeldistill.tasks import Task, task_of
from pixeldistill.tasks.base import Compared

RAW_BOUND = 1e-3  # for the raw outputs, relative to the largest value, or to 1
PREDICTION_BOUND = 0.05  # for a probability, from file to prediction: the two resizes to 8 bits round differently
LOST_BOUND = 0.02  # for a detector's objects: some lie so close to a threshold that rounding decides


@dataclass(frozen=True)
class Parity:
    """Differences between an exported file and its network.

    raw: largest difference of the raw outputs for the same view, relative to the largest value (or 1).
    prediction: largest difference of a probability, from file to prediction.
    unmatched: for a detector, share of the confident objects of either side without a counterpart on the other. 0 for
    classifiers.
    objects: number of these confident objects.
    images: number of compared images.
    """

    raw: float
    prediction: float
    unmatched: float
    objects: int
    images: int


def compare_predictions(
    model: onnx.ModelProto, network: Adapter, camera: Camera, paths: Sequence[Path], bits: int | None = None
) -> Parity:  # fmt: skip
    """Predict the same images with an exported model and its network, and compare the predictions."""
    task, network = task_of(network), network.eval().cpu()
    told = onnx.ModelProto()
    told.CopyFrom(model)
    known = {output.name for output in told.graph.output}
    made = {name for node in told.graph.node for name in node.output} - known
    told.graph.output.extend(onnx.ValueInfoProto(name=name) for name in (f"{PREFIX}scores", f"{PREFIX}boxes") if name in made)
    session, deployed = open_session(told.SerializeToString()), task.deploy(network)

    def compared_on(path: Path) -> Compared:
        image = read_image(path, bits=bits)
        view = received_view(image, network.spec.image_size[0], camera, task)
        return task.compare(session, PREFIX, network, deployed, view[None], image)

    compared = [compared_on(path) for path in paths]
    lost, sure = (sum(column) for column in zip(*(one[2:] for one in compared), strict=True))
    raw, prediction = (float(np.max(column)) for column in zip(*(one[:2] for one in compared), strict=True))  # NaN if one is
    return Parity(raw, prediction, lost / max(1, sure), sure, len(paths))


def check_parity(parity: Parity, *, force: bool = False) -> list[str]:
    """Raise ExportError if an exported network's outputs differ from PyTorch's. With `force`, return a warning instead.

    Returns:
        Warnings about these differences, and about predictions that differ although the network is the same.

    Raises:
        ExportError: the outputs differ, without `force`.
    """
    warnings = []
    if not parity.raw <= RAW_BOUND:
        told = f"the exported network differs from PyTorch's by {parity.raw:.2g} (relative), more than {RAW_BOUND:g}"
        if not force:
            raise ExportError(f"{told}: export by another version of PyTorch, or keep the file as it is by --force")
        warnings.append(told)
    if not parity.prediction <= PREDICTION_BOUND:
        warnings.append(
            f"from image file to prediction its probabilities differ from PyTorch's by up to {parity.prediction:.2g}: they "
            "hang on single grey levels, by which two resizes differ; `camera.noise` (8, for example) teaches a network not to"
        )
    if not parity.unmatched <= LOST_BOUND:
        what = f"{parity.unmatched:.1%} of PyTorch's and its {in_words(parity.objects, 'object')} are not found by the other"
        warnings.append(f"{what}: so many lie at a threshold, as those of a hardly trained network do")
    return warnings


def received_view(image: Pixels, image_size: int, camera: Camera, task: Task) -> Tensor:
    """Return the view (3, h, w), uint8, of an image that a camera has already sent."""
    view = task.view(image, image_size, camera)
    return to_tensor(photograph(view.permute(1, 2, 0).contiguous().numpy(), camera.received, ()))
