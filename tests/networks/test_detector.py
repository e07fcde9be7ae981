"""Detectors on backbones of several families: their levels, their weights, what they refuse."""

import pytest
import torch
import torch.nn.functional as F

from pixeldistill.cost.footprint import macs
from pixeldistill.errors import NetworkError, WeightsError
from pixeldistill.networks.folding import fold_norms
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.tasks.detection.detector import build_detector
from pixeldistill.tasks.detection.load_state import load_detector_state
from pixeldistill.tasks.detection.results import find_objects

LIGHT = {"channels": 64, "depth": 2, "scales": 1}
FAMILIES = {
    "resnet18": {},
    "tf_efficientnet_lite0": {},
    "convnext_atto": {},
    "swin_tiny_patch4_window7_224": {"depths": (1, 1, 1, 1)},
    "vit_tiny_patch16_224": {"depth": 2},
}


def light(**changes):
    return DetectorSettings(**(LIGHT | changes))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("head", ["retinanet", "fcos"])
def test_every_parameter_learns_and_images_of_any_shape_are_taken(name, head):
    detector = build_detector(name, 3, 64, light(head=head), options=FAMILIES[name])
    outputs = detector.eval()(torch.rand(1, 3, 70, 100))
    assert [tuple(level.shape[2:]) for level in outputs.features] == [(12, 16), (6, 8), (3, 4), (2, 2), (1, 1)]
    stride = round(64 / detector.spec.input_feature.height)
    assert tuple(outputs.input_feature.shape[2:]) == (-(-70 // stride), -(-100 // stride)), "the padding is no part of it"
    shapes = 1 if head == "fcos" else 3
    for level, logits, deltas in zip(outputs.features, outputs.boxes.logits, outputs.boxes.deltas, strict=True):
        cells = level.shape[2] * level.shape[3] * shapes
        assert logits.shape == (1, cells, 3) and deltas.shape == (1, cells, 4)
    outputs = detector.train()(torch.rand(2, 3, 64, 64))
    sum(part.square().sum() for parts in outputs.boxes for part in parts).backward()
    assert [n for n, p in detector.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("head", ["retinanet", "fcos"])
def test_the_head_is_torchvisions(head):
    """Run in two halves, for the sake of CrossKD, it says what it says in one."""
    detector = build_detector("test_resnet", 4, 64, light(head=head, depth=3)).eval()
    outputs = detector(torch.rand(2, 3, 64, 64))
    whole = detector.net["head"](list(outputs.features))
    for name, maps in zip(("cls_logits", "bbox_regression", "bbox_ctrness"), outputs.boxes, strict=False):
        if maps:
            assert torch.allclose(torch.cat(maps, dim=1), whole[name], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        (
            "convnext_atto",
            {"levels": (1, 5)},
            r"strides 4, 8, 16, 32, so it has no level 1 \(stride 2\): choose `levels` from 2 on",
        ),
        ("vit_tiny_patch16_224", {"patch_size": 14}, "patches of 14 do not divide 32 pixels: choose `patch_size` 8 or 16"),
        ("no_such_network", {}, "unknown network"),
        ("coatnet_pico_rw_224", {}, "it takes square images of one size alone"),
        ("maxvit_pico_rw_256", {}, "it takes square images of one size alone"),
        ("torchvision/shufflenet_v2_x0_5", {}, "gives no maps of its levels: choose a network of timm"),
    ],
)
def test_what_cannot_detect_is_refused(name, changes, words):
    patch_size = changes.pop("patch_size", None)
    with pytest.raises(NetworkError, match=words):
        build_detector(name, 3, 56 if patch_size else 64, light(**changes), patch_size=patch_size)


def test_coarse_and_fine_levels():
    fine = build_detector("test_resnet", 3, 64, light(levels=(2, 4)))
    assert [str(level) for level in fine.spec.features] == ["64×16×16", "64×8×8", "64×4×4"]
    coarse = build_detector("test_resnet", 3, 64, light(levels=(6, 8)))
    assert [str(level) for level in coarse.spec.features] == ["64×1×1"] * 3


def test_a_student_starts_from_the_levels_that_it_shares():
    """By their level, wherever a pyramid begins; the head serves all levels."""
    source = build_detector("test_resnet", 3, 64, light(levels=(3, 8)))
    for levels in ((3, 7), (2, 6), (4, 9)):
        student = build_detector("test_resnet", 3, 32, light(levels=levels))
        before = {key: value.clone() for key, value in student.net.state_dict().items()}
        load_detector_state(student, source.net.state_dict(), source.built, "x", trained=False)
        after, theirs = student.net.state_dict(), source.net.state_dict()
        for level in (3, 4, 5):
            if level >= levels[0]:
                own, other = (f"fpn.layer_blocks.{level - first}.0.weight" for first in (min(levels[0], 5), 3))
                assert torch.equal(after[own], theirs[other])
        if levels[0] == 2:
            assert torch.equal(after["fpn.layer_blocks.0.0.weight"], before["fpn.layer_blocks.0.0.weight"]), "P2 is fresh"
        assert torch.equal(after["fpn.extra_blocks.levels.6.weight"], theirs["fpn.extra_blocks.levels.6.weight"])
        assert all(torch.equal(after[key], theirs[key]) for key in after if key.startswith(("head.", "backbone.")))


def test_a_teachers_levels_must_be_its_own():
    source, other = (build_detector("test_resnet", 3, 64, light(levels=levels)) for levels in ((3, 8), (3, 7)))
    with pytest.raises(WeightsError, match="has the levels P3–P8, not P3–P7"):
        load_detector_state(other, source.net.state_dict(), source.built, "runs/a", trained=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": 96}, "its channels was 64, is 96"),
        ({"head": "fcos"}, 'head was "retinanet", is "fcos"'),
        ({"anchor": 2}, r"anchor was 4\.0, is 2\.0"),
    ],
)
def test_a_start_of_another_head_or_of_other_anchors_is_refused(changes, words):
    """Boxes are told by the anchors, which no weight's shape shows."""
    source, other = build_detector("test_resnet", 3, 64, light()), build_detector("test_resnet", 3, 64, light(**changes))
    with pytest.raises(WeightsError, match=words):
        load_detector_state(other, source.net.state_dict(), source.built, "runs/a", trained=False)


@pytest.mark.parametrize("levels", [(2, 4), (1, 3)])
def test_a_shallower_student_starts_from_a_deeper_backbone(levels):
    """What the other needs for its coarser levels alone is left."""
    source = build_detector("tf_efficientnet_lite0", 3, 64, light(levels=(3, 5)))
    student = build_detector("tf_efficientnet_lite0", 3, 32, light(levels=levels))
    theirs, own = source.net.state_dict(), student.net.state_dict()
    assert {key for key in theirs if key.startswith("backbone.")} > {key for key in own if key.startswith("backbone.")}
    load_detector_state(student, theirs, source.built, "x", trained=False)
    assert all(torch.equal(value, theirs[key]) for key, value in student.net.state_dict().items() if key.startswith("backbone."))
    with pytest.raises(WeightsError, match=r"do not fit its backbone: \d+ of \d+ keys missing"):
        load_detector_state(source, own, student.built, "x", trained=False)


@pytest.mark.parametrize("head", ["retinanet", "fcos"])
def test_an_enlarged_image_shifts_the_levels(head):
    """What is found is what the same network finds in the large image, told in pixels of the small one."""
    small = build_detector("test_resnet", 3, 32, light(head=head), enlarge=128).eval()
    large = build_detector("test_resnet", 3, 128, light(head=head)).eval()
    large.net.load_state_dict(small.net.state_dict())
    assert small.spec.detector.levels == (1, 5) and large.spec.detector.levels == (3, 7)
    assert small.spec.grids == large.spec.grids
    for detector in (small, large):
        torch.nn.init.zeros_(detector.net["head"].classification_head.cls_logits.bias)  # by default nothing is found
    image = torch.rand(1, 3, 32, 56, generator=torch.Generator().manual_seed(1))
    views = image, F.interpolate(image, scale_factor=4, mode="bilinear")
    outputs = [detector(view) for detector, view in zip((small, large), views, strict=True)]
    for ours, theirs in zip(outputs[0].boxes.logits, outputs[1].boxes.logits, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert outputs[0].input_feature.shape == outputs[1].input_feature.shape
    (ours,), (theirs,) = (
        find_objects(output, detector.settings, view.shape[2:])
        for output, detector, view in zip(outputs, (small, large), views, strict=True)
    )
    assert len(ours.boxes) == len(theirs.boxes) > 10
    assert torch.allclose(4 * ours.boxes, theirs.boxes, atol=1e-2)


@pytest.mark.parametrize("enlarge", [48, 96, 16])
def test_images_are_enlarged_by_powers_of_two_alone(enlarge):
    with pytest.raises(NetworkError, match=f"{enlarge} is not 2, 4, … times 32"):
        build_detector("test_resnet", 3, 32, light(), enlarge=enlarge)


@pytest.mark.parametrize(("name", "image_size"), [("test_resnet", 16), ("test_resnet", 48), ("test_vit", 48)])
def test_an_enlarged_image_costs_what_the_large_one_does(name, image_size):
    """Nothing is padded that the large image would not have; a map of the input module covers the same image."""
    small, large = (
        build_detector(name, 3, s, light(), enlarge=e) for s, e in ((image_size, 2 * image_size), (2 * image_size, None))
    )
    assert macs(small) == macs(large)
    assert small.spec.input_feature == large.spec.input_feature
    assert small.spec.grids == large.spec.grids


def test_frozen_norms_stay_as_they_are():
    detector = build_detector("test_resnet", 3, 64, light(freeze_norms=True)).train()
    before = {key: value.clone() for key, value in detector.state_dict().items() if "running" in key}
    detector(torch.rand(2, 3, 64, 64))
    assert before and all(torch.equal(value, detector.state_dict()[key]) for key, value in before.items())
    norms = [m for m in detector.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms and not any(p.requires_grad for m in norms for p in m.parameters())


def test_norms_are_folded():
    detector = build_detector("test_resnet", 3, 64, light()).eval()
    image = torch.rand(2, 3, 64, 64)
    folded, count = fold_norms(detector)
    assert count > 3
    for a, b in zip(detector(image).boxes.logits, folded(image).boxes.logits, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_what_no_level_needs_is_no_part_of_it():
    """So that every process has a gradient for every parameter, and nothing idle is deployed."""
    detector = build_detector("test_resnet", 3, 64, light(levels=(3, 4))).train()
    outputs = detector(torch.rand(2, 3, 64, 64))
    sum(part.square().sum() for parts in outputs.boxes for part in parts).backward()
    assert [n for n, p in detector.named_parameters() if p.grad is None] == []
    whole = build_detector("test_resnet", 3, 64, light())
    assert sum(p.numel() for p in detector.backbone.parameters()) < sum(p.numel() for p in whole.backbone.parameters())


def test_a_start_of_other_classes_leaves_that_layer_fresh():
    source, student = (build_detector("test_resnet", classes, 64, light()) for classes in (5, 3))
    before = student.net.state_dict()["head.classification_head.cls_logits.weight"].clone()
    load_detector_state(student, source.net.state_dict(), source.built, "x", trained=False)
    after, theirs = student.net.state_dict(), source.net.state_dict()
    assert torch.equal(after["head.classification_head.cls_logits.weight"], before)
    assert torch.equal(after["head.regression_head.bbox_reg.weight"], theirs["head.regression_head.bbox_reg.weight"])


def test_a_pvt_is_no_plain_vit():
    assert len(build_detector("pvt_v2_b0", 3, 64, light()).spec.features) == 5
