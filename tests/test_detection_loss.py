"""A detector's loss, its boxes and its figures, against torchvision's and COCO's own."""

import numpy as np
import pytest
import torch
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection._utils import BoxCoder, BoxLinearCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.retinanet import RetinaNetHead

from pixeldistill.data.boxes import Annotation
from pixeldistill.functional.boxes import decode_boxes, decode_sides, encode_boxes, encode_sides
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.tasks.detection.heads.base import head_named
from pixeldistill.tasks.detection.loss import anchors_of, match, supervised_loss
from pixeldistill.tasks.detection.metrics import average_precision
from pixeldistill.tasks.detection.results import find_objects, to_original
from pixeldistill.types import BoxMaps, BoxTarget, Outputs

CLASSES, SIDE, N = 3, 96, 3
GRIDS = ((12, 12), (6, 6), (3, 3))
SETTINGS = {head: DetectorSettings(head=head, levels=(3, 5), channels=64, scales=2) for head in ("retinanet", "fcos")}


def random_boxes(generator, *shape):
    corner = torch.rand(*shape, 2, generator=generator) * 70
    return torch.cat([corner, corner + 4 + torch.rand(*shape, 2, generator=generator) * 50], dim=-1).clamp(max=SIDE)


def case(head, seed):
    """Make a prediction for a batch with five, no and one object."""
    generator = torch.Generator().manual_seed(seed)
    settings = SETTINGS[head]
    cells = [h * w * settings.shapes for h, w in GRIDS]
    logits, deltas = ([torch.randn(N, c, width, generator=generator) for c in cells] for width in (CLASSES, 4))
    if head == "fcos":
        deltas = [d.abs() * 3 for d in deltas]
    central = tuple(torch.randn(N, c, 1, generator=generator) for c in cells) if head == "fcos" else ()
    labels = torch.tensor([[0, 1, 2, 2, 1], [-1] * 5, [2, -1, -1, -1, -1]])
    target = BoxTarget(torch.where(labels[..., None] >= 0, random_boxes(generator, N, 5), 0.0), labels)
    return BoxMaps(tuple(logits), tuple(deltas), central), target


def torchvision_model(head):
    """Build torchvision's detector for its loss and its choice of boxes; its backbone is never run."""
    backbone = torch.nn.Conv2d(3, 32, 1)
    backbone.out_channels = 32
    settings = SETTINGS[head]
    if head == "fcos":
        generator = AnchorGenerator(((8,), (16,), (32,)), ((1.0,),) * 3)
        return FCOS(backbone, CLASSES, anchor_generator=generator, head=FCOSHead(32, 1, CLASSES), score_thresh=0.05,
                    detections_per_img=100)  # fmt: skip
    generator = AnchorGenerator(((8,) * settings.scales,) * 3, ((0.5, 1.0, 2.0),) * 3)
    return RetinaNet(backbone, CLASSES, anchor_generator=generator, head=RetinaNetHead(32, settings.shapes, CLASSES),
                     detections_per_img=100)  # fmt: skip


def told(prediction):
    names = ("cls_logits", "bbox_regression", "bbox_ctrness")
    return {name: torch.cat(maps, dim=1) for name, maps in zip(names, prediction, strict=False) if maps}


@pytest.mark.parametrize("head", SETTINGS)
@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_torchvisions(head, seed):
    prediction, target = case(head, seed)
    own = supervised_loss(prediction, target, SETTINGS[head], GRIDS)
    counted = supervised_loss(prediction, target._replace(counts=(5, 0, 1)), SETTINGS[head], GRIDS)
    assert torch.equal(own, counted), "empty places change nothing"
    levels = anchors_of(SETTINGS[head], GRIDS, torch.device("cpu"))
    targets = [
        {"boxes": b[labels >= 0], "labels": labels[labels >= 0]} for b, labels in zip(target.boxes, target.labels, strict=True)
    ]
    anchors = [torch.cat(levels)] * N
    model = torchvision_model(head)
    extra = ([len(level) for level in levels],) if head == "fcos" else ()
    expected = sum(model.compute_loss(targets, told(prediction), anchors, *extra).values())
    assert torch.isfinite(own) and own.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("head", SETTINGS)
def test_images_without_objects_have_a_finite_loss_and_gradient(head):
    prediction, _ = case(head, 0)
    for maps in prediction:
        for level in maps:
            level.requires_grad_(True)
    empty = BoxTarget(torch.zeros(N, 1, 4), torch.full((N, 1), -1))
    supervised_loss(prediction, empty, SETTINGS[head], GRIDS).backward()
    assert all(torch.isfinite(level.grad).all() for level in prediction.logits)
    assert sum(level.grad.abs().sum() for level in prediction.logits) > 0
    assert all(level.grad is None or (level.grad == 0).all() for level in prediction.deltas)


@pytest.mark.parametrize("head", SETTINGS)
def test_the_boxes_are_torchvisions(head):
    """But for those that have no area once they are cut, which torchvision keeps."""
    prediction, _ = case(head, 4)
    model, levels = torchvision_model(head), anchors_of(SETTINGS[head], GRIDS, torch.device("cpu"))
    names = ("cls_logits", "bbox_regression", "bbox_ctrness")
    said = {name: list(maps) for name, maps in zip(names, prediction, strict=False) if maps}
    expected = model.postprocess_detections(said, [list(levels)] * N, [(90, 80)] * N)
    outputs = Outputs(prediction, torch.empty(0), tuple(torch.empty(N, 1, *grid) for grid in GRIDS))
    for own, theirs in zip(find_objects(outputs, SETTINGS[head], (90, 80)), expected, strict=True):
        there = (theirs["boxes"][:, 2:] > theirs["boxes"][:, :2]).all(dim=1)
        assert 0 < there.sum() < 100
        same = slice(int(there.sum()))
        assert torch.allclose(own.scores[same], theirs["scores"][there], atol=1e-6)
        assert own.labels[same].tolist() == theirs["labels"][there].tolist()
        assert torch.allclose(own.boxes[same], theirs["boxes"][there], atol=1e-3)


def test_what_is_found_in_the_padding_alone_is_no_object():
    """Padding is never trained on; a box that ends there has no area once it is cut."""
    prediction, _ = case("retinanet", 4)
    outputs = Outputs(prediction, torch.empty(0), tuple(torch.empty(N, 1, *grid) for grid in GRIDS))
    narrow = find_objects(outputs, SETTINGS["retinanet"], (SIDE, SIDE // 3))
    assert all(((found.boxes[:, 2:] - found.boxes[:, :2]) > 0).all() and len(found.boxes) for found in narrow)


@pytest.mark.parametrize("head", SETTINGS)
@pytest.mark.parametrize("shift", [1, 2])
def test_an_assistant_is_told_at_its_twins_what_its_student_is_told(head, shift):
    student, assistant = SETTINGS[head], SETTINGS[head].model_copy(update={"levels": (3, 5 + shift)})
    _, target = case(head, 5)
    large = target._replace(boxes=target.boxes * 2**shift)
    grids = tuple((12 * 2**shift // 2**i,) * 2 for i in range(3 + shift))
    levels = anchors_of(assistant, grids, torch.device("cpu"))
    finer = sum(map(len, levels[:shift]))
    expected = match(anchors_of(student, GRIDS, torch.device("cpu")), target, student)
    usual, told = match(levels, large, assistant), match(levels, large, assistant, slice(shift, 3 + shift))
    assert torch.equal(told[:, finer:], expected)
    assert torch.equal(told[:, :finer], usual[:, :finer])
    assert not torch.equal(usual[:, finer:], expected), "its finer levels would take some objects to themselves"


def test_chosen_levels_alone():
    prediction, _ = case("retinanet", 1)
    outputs = Outputs(prediction, torch.empty(0), tuple(torch.empty(N, 1, *grid) for grid in GRIDS))
    (coarse, *_) = find_objects(outputs, SETTINGS["retinanet"], (SIDE, SIDE), range(5, 6))
    silent = prediction._replace(logits=(prediction.logits[0] - 99, prediction.logits[1] - 99, prediction.logits[2]))
    (same, *_) = find_objects(outputs._replace(prediction=silent), SETTINGS["retinanet"], (SIDE, SIDE))
    assert torch.equal(coarse.boxes, same.boxes) and len(coarse.boxes)


def test_every_object_is_matched_by_some_anchor():
    """Even one that overlaps all of them little."""
    (level, *_) = anchors_of(SETTINGS["retinanet"], GRIDS, torch.device("cpu"))
    target = BoxTarget(torch.tensor([[[10.0, 10, 13, 13], [0, 0, 0, 0]]]), torch.tensor([[1, -1]]))
    assert (head_named("retinanet").match([level], target) == 0).any()


def test_codes_are_torchvisions():
    generator = torch.Generator().manual_seed(0)
    anchors, boxes = random_boxes(generator, 50), random_boxes(generator, 50)
    coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
    assert torch.allclose(encode_boxes(boxes, anchors), coder.encode_single(boxes, anchors), atol=1e-5)
    wild = 9 * torch.randn(50, 4, generator=generator)
    assert torch.allclose(decode_boxes(wild, anchors), coder.decode_single(wild, anchors), rtol=1e-4, atol=1e-2)
    squares = torch.cat([anchors[:, :2], anchors[:, :2] + 16], dim=1)
    linear = BoxLinearCoder(normalize_by_size=True)
    assert torch.allclose(encode_sides(boxes, squares), linear.encode(squares, boxes), atol=1e-5)
    assert torch.allclose(decode_sides(wild, squares), linear.decode(wild, squares), atol=1e-3)


def annotation(boxes, labels, crowd=None, size=(200, 300)):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return Annotation(boxes, np.array(labels, np.int64), areas, np.array(crowd or [False] * len(boxes), bool), size)


def found(boxes, scores, labels):
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(scores), torch.tensor(labels)


def test_average_precision():
    truth = [annotation([[0, 0, 20, 20], [50, 50, 150, 150]], [0, 1]), annotation([], [])]
    perfect = [found([[0, 0, 20, 20], [50, 50, 150, 150]], [0.9, 0.8], [0, 1]), found([], [], [])]
    figures = average_precision(perfect, truth, 2)
    assert figures["map"] == figures["ap50"] == figures["ap_small"] == figures["ap_large"] == pytest.approx(1)
    assert figures["ap_medium"] is None, "there is no such object"
    assert figures["per_class"] == pytest.approx([1, 1])
    half = [found([[0, 0, 20, 20]], [0.9], [0]), found([], [], [])]
    assert average_precision(half, truth, 2)["map"] == pytest.approx(0.5)
    loose = [found([[0, 0, 20, 14], [50, 50, 150, 150]], [0.9, 0.8], [0, 1]), found([], [], [])]
    figures = average_precision(loose, truth, 2)
    assert figures["per_class"][0] == pytest.approx(0.5), "an overlap of 0.7 counts for half of the thresholds"
    nothing = average_precision([found([], [], [])] * 2, truth, 2)
    assert nothing["map"] == 0


def test_the_area_that_is_stated_decides_what_is_small():
    """A mask's, where the data has one, and not its box's."""
    truth = [annotation([[0, 0, 100, 100]], [0])._replace(areas=np.array([900], np.float32))]
    figures = average_precision([found([[0, 0, 100, 100]], [0.9], [0])], truth, 1)
    assert figures["ap_small"] == pytest.approx(1)
    assert figures["ap_large"] is None


def test_a_detection_on_a_crowd_is_no_mistake():
    truth = [annotation([[0, 0, 20, 20], [100, 100, 180, 180]], [0, 0], crowd=[False, True])]
    also = [found([[110, 110, 160, 160], [0, 0, 20, 20]], [0.9, 0.8], [0, 0])]
    assert average_precision(also, truth, 1)["map"] == pytest.approx(1)
    wrong = [found([[30, 30, 60, 60], [0, 0, 20, 20]], [0.9, 0.8], [0, 0])]
    assert average_precision(wrong, truth, 1)["map"] == pytest.approx(0.5)


def difficult(boxes, hard):
    truth = annotation(boxes, [0] * len(boxes), crowd=hard)
    return truth._replace(difficult=np.array(hard))


def test_a_difficult_object_is_ignored_as_voc_ignores_it():
    """One detection on it is no mistake; a part of it, or a second one on an object beside it, is."""
    truth = [difficult([[0, 0, 20, 20], [100, 100, 180, 180]], [False, True])]
    own = [[0, 0, 20, 20], 0.5]
    for box, likely, right in (
        ([100, 100, 180, 180], 0.9, True),  # the difficult object itself
        ([100, 100, 130, 180], 0.9, False),  # a part of it: inside, but an overlap of 0.375
        ([30, 30, 60, 60], 0.9, False),  # nothing
    ):
        figures = average_precision([found([own[0], box], [own[1], likely], [0, 0])], truth, 1)
        assert figures["ap50"] == pytest.approx(1 if right else 0.5), box
        assert figures["voc_ap"] == pytest.approx(1 if right else 0.5), box


def test_vocs_average_precision():
    """Five detections of three objects, worked out by hand: right, wrong, right, right again (wrong), and a miss."""
    truth = [annotation([[0, 0, 20, 20], [40, 0, 60, 20]], [0, 0]), annotation([[0, 0, 20, 20]], [0])]
    said = [
        found([[0, 0, 20, 20], [100, 100, 120, 120], [41, 0, 61, 20], [40, 0, 60, 20]], [0.9, 0.8, 0.7, 0.6], [0, 0, 0, 0]),
        found([[0, 0, 20, 9]], [0.5], [0]),
    ]
    figures = average_precision(said, truth, 1)
    # precision 1 until a third of the objects is found, 2/3 until two thirds, the last one is never found
    assert figures["voc_ap"] == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert figures["voc_ap"] == pytest.approx(figures["ap50"], abs=0.01), "COCO's has 101 places in its stead"
    none = average_precision([found([[0, 0, 20, 20]], [0.9], [0])], [annotation([], [])], 1)
    assert none["voc_ap"] is None


def test_boxes_of_a_view_in_pixels_of_the_original():
    """Either axis by its own factor: the longer side of a view is rounded."""
    assert to_original(torch.tensor([[1.0, 2, 3, 4]]), (32, 43), (192, 256)).tolist() == [
        pytest.approx([256 / 43, 12, 3 * 256 / 43, 24])
    ]
