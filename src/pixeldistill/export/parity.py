"""Whether an exported file says what its network says: on real images, in PyTorch and in ONNX Runtime."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from pixeldistill.data.camera import photograph
from pixeldistill.data.crops import cut_long
from pixeldistill.data.images import read_image
from pixeldistill.data.views import camera_view, to_tensor, to_unit, whole_view
from pixeldistill.errors import ExportError
from pixeldistill.export.convert import PREFIX
from pixeldistill.exported import Pixels, open_session
from pixeldistill.inputs import Imaging
from pixeldistill.networks.classifier import Classifier
from pixeldistill.networks.detector import Detector
from pixeldistill.networks.shipped import ship
from pixeldistill.networks.trained import AnyNetwork
from pixeldistill.tasks.detection import Detections, find_objects, to_original
from pixeldistill.wording import in_words

RAW_BOUND = 1e-3  # of what the network gives, relative to its largest value, or to 1
ANSWER_BOUND = 0.05  # of a probability, from the file to the answer: the two resize to 8 bits with other roundings
LOST_BOUND = 0.02  # of a detector's objects: some lie so close to a threshold that a rounding decides
APART_BOUND = 0.01  # of the anchors that are among a level's likeliest: those that are so for one of the two alone
SURE, SAME_BOX = 0.3, 0.9  # of a detector's objects: those that are matched, and from which overlap two are one


Session = Any  # ONNX Runtime has no types
Compared = tuple[float, float, int, int]  # difference of what the network gives, of answers; objects that are lost, of how many


@dataclass(frozen=True)
class Parity:
    """How far an exported file is from its network.

    raw: largest difference of what the network gives for the same view, relative to its largest value (or 1).
    answer: largest difference of a probability, from the file to the answer.
    unmatched: share of a detector's objects, of those that either is sure of, without counterpart in the other; 0 of classifiers.
    objects: how many those are.
    images: how many were compared.
    """

    raw: float
    answer: float
    unmatched: float
    objects: int
    images: int


def compare_answers(
    model: onnx.ModelProto, network: AnyNetwork, imaging: Imaging, paths: Sequence[Path], bits: int | None = None
) -> Parity:  # fmt: skip
    """Ask an exported model and its network of the same images."""
    ask: Callable[[Imaging, Pixels], Compared]
    raw_names = [f"{PREFIX}scores"] + ([f"{PREFIX}boxes"] if isinstance(network, Detector) else [])
    told = onnx.ModelProto()
    told.CopyFrom(model)
    known = {output.name for output in told.graph.output}
    told.graph.output.extend(onnx.ValueInfoProto(name=name) for name in raw_names if name not in known)
    session = open_session(told.SerializeToString())
    network = network.eval().cpu()
    if isinstance(network, Detector):
        ask = partial(_ask_detector, session, network, ship(network))
    else:
        ask = partial(_ask_classifier, session, network)
    compared = [ask(imaging, read_image(path, bits=bits)) for path in paths]
    lost, sure = (sum(column) for column in zip(*(one[2:] for one in compared), strict=True))
    raw, answer = (float(np.max(column)) for column in zip(*(one[:2] for one in compared), strict=True))  # NaN where one is
    return Parity(raw, answer, lost / max(1, sure), sure, len(paths))


def check_parity(parity: Parity, *, force: bool = False) -> list[str]:
    """Refuse a model whose network says something else than PyTorch's; `force` lets it pass.

    Returns:
        Warnings: of that, and of answers that differ though the network is the same.

    Raises:
        ExportError: see above.
    """
    warnings = []
    if not parity.raw <= RAW_BOUND:
        told = f"the exported network differs from PyTorch's by {parity.raw:.2g} (relative), more than {RAW_BOUND:g}"
        if not force:
            raise ExportError(f"{told}: export by another version of PyTorch, or keep the file as it is by --force")
        warnings.append(told)
    if not parity.answer <= ANSWER_BOUND:
        warnings.append(
            f"from file to answer its probabilities differ from PyTorch's by up to {parity.answer:.2g}: answers hang on single "
            "grey levels, by which two resizes differ; `imaging.noise` (8, for example) teaches a network not to"
        )
    if not parity.unmatched <= LOST_BOUND:
        what = f"{parity.unmatched:.1%} of PyTorch's and its {in_words(parity.objects, 'object')} are not found by the other"
        warnings.append(f"{what}: so many lie at a threshold, as those of a hardly trained network do")
    return warnings


def received_view(image: Pixels, side: int, imaging: Imaging, *, whole: bool) -> Tensor:
    """Make the view (3, h, w), uint8, of an image that a camera has sent."""
    view = (whole_view if whole else camera_view)(image, side, imaging)
    return to_tensor(photograph(view.permute(1, 2, 0).contiguous().numpy(), imaging.received, ()))


def _relative(ours: Tensor, theirs: Pixels) -> float:
    difference = (ours - torch.from_numpy(theirs)).abs().max().item()
    return difference / max(1.0, ours.abs().max().item())  # NaN where one of theirs is: `check_parity` refuses that


@torch.inference_mode()
def _ask_classifier(session: Session, network: Classifier, imaging: Imaging, image: Pixels) -> Compared:
    view = received_view(image, network.spec.image_size[0], imaging, whole=False)[None]
    logits = network(to_unit(view)).logits
    fed = view.permute(0, 2, 3, 1).contiguous().numpy()
    (raw,) = session.run([f"{PREFIX}scores"], {"image": fed})
    (probabilities,) = session.run(["probabilities"], {"image": np.ascontiguousarray(cut_long(image))[None]})
    answer = float(np.abs(logits.softmax(dim=1).numpy() - probabilities).max())
    return _relative(logits, raw), answer, 0, 0


@torch.inference_mode()
def _ask_detector(session: Session, network: Detector, shipped: nn.Module, imaging: Imaging, image: Pixels) -> Compared:
    view = received_view(image, network.spec.image_size[0], imaging, whole=True)[None]
    scores, boxes = shipped(network.prepare(to_unit(view)))
    fed = view.permute(0, 2, 3, 1).contiguous().numpy()
    raw_scores, raw_boxes = session.run([f"{PREFIX}scores", f"{PREFIX}boxes"], {"image": fed})
    both = (scores > 0).numpy() & (raw_scores > 0)  # a rounding may decide which is the last of a level's likeliest
    apart = ((scores > 0).numpy() != (raw_scores > 0)) & (np.maximum(scores.numpy(), raw_scores) > RAW_BOUND)  # or is next to 0
    compared = both if apart.sum() <= APART_BOUND * max(1, int(both.sum())) else np.ones_like(both)
    raw = float(np.max([_relative(scores * torch.from_numpy(compared), raw_scores * compared), _relative(boxes, raw_boxes)]))
    (expected,) = find_objects(network(to_unit(view)), network.settings, view.shape[2:])
    expected = expected._replace(boxes=to_original(expected.boxes, view.shape[2:], image.shape[:2]))
    objects, probabilities, classes, _ = session.run(["objects", "probabilities", "classes", "images"], {"image": image[None]})
    found = Detections(*(torch.from_numpy(x) for x in (objects, probabilities, classes)))
    there, back = _matched(expected, found), _matched(found, expected)
    return raw, max(there[0], back[0]), there[1] + back[1], there[2] + back[2]


def _matched(expected: Detections, found: Detections) -> tuple[float, int, int]:
    """Match the objects that one is sure of: largest difference of a probability, how many are lost, how many there are."""
    sure = expected.scores >= SURE
    if not sure.any():
        return 0.0, 0, 0
    overlap = box_iou(expected.boxes[sure], found.boxes) * (expected.labels[sure, None] == found.labels)
    if not len(found.scores):
        return 0.0, int(sure.sum()), int(sure.sum())
    best, number = overlap.max(dim=1)
    same = best >= SAME_BOX
    differences = (expected.scores[sure] - found.scores[number]).abs()[same]
    return float(differences.max()) if len(differences) else 0.0, int((~same).sum()), int(sure.sum())
