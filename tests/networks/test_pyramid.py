"""AFP's rule: levels that correspond, anchors that are twins, boxes that they cover."""

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.recipe.levels import assistant_levels, pair_levels, size_shift
from pixeldistill.tasks.detection.anchors import coverage, level_anchors
from pixeldistill.tasks.detection.heads.base import head_named

RNG = np.random.default_rng(5)


def fractions(settings, number, image_size):
    """Give a level's anchors as fractions of an image that is padded to whole cells of 32 pixels."""
    padded = -(-image_size // 32) * 32
    cells = -(-padded // 2**number)
    return level_anchors(settings, number, (cells, cells)).reshape(cells, cells, -1, 4) / image_size, cells


@pytest.mark.parametrize("image_size", [256, 128, 100, 37, 333])
@pytest.mark.parametrize("shift", [0, 1, 2, 3])
@pytest.mark.parametrize("head", ["retinanet", "fcos"])
def test_twins_are_the_same_fractions_of_the_image(image_size, shift, head):
    """For every anchor that both grids have, whatever the padding; the grids begin at the same corner."""
    settings = DetectorSettings(head=head, channels=64)
    for number in settings.numbers:
        small, n = fractions(settings, number, image_size)
        large, m = fractions(settings, number + shift, image_size * 2**shift)
        common = min(n, m)
        assert np.allclose(small[:common, :common], large[:common, :common], rtol=1e-6, atol=1e-7)
        assert common * 2**number >= image_size or n == m, "what is cut off lies beyond the image"


def test_torchvisions_rounded_anchors_are_no_twins():
    """The smallest ones, one octave apart, differ by up to 14 %: why these are neither rounded nor torchvision's."""
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    sizes = [tuple(2 * stride * 2 ** (i / 3) for i in range(3)) for stride in (4, 8)]
    fine, coarse = AnchorGenerator(tuple(sizes), ((0.5, 1.0, 2.0),) * 2).cell_anchors
    fine, coarse = ((anchors[:, 2:] - anchors[:, :2]) / stride for anchors, stride in ((fine, 4), (coarse, 8)))
    assert (fine / coarse - 1).abs().max() == pytest.approx(0.143, abs=0.001)


def test_a_mirrored_image_has_mirrored_anchors():
    anchors = level_anchors(DetectorSettings(), 4, (6, 6)).reshape(6, 6, 9, 4)
    mirrored = np.stack([96 - anchors[..., 2], anchors[..., 1], 96 - anchors[..., 0], anchors[..., 3]], axis=-1)
    assert np.allclose(mirrored[:, ::-1], anchors, atol=1e-4)


def test_anchors_have_the_shapes_that_are_asked_for():
    settings = DetectorSettings(anchor=3, aspects=(0.5, 2), scales=2)
    boxes = level_anchors(settings, 3, (1, 1))
    sizes = (boxes[:, 2:] - boxes[:, :2]) / 8
    assert np.allclose(sizes.prod(axis=1), [9, 18, 9, 18]) and np.allclose(sizes[:, 1] / sizes[:, 0], [0.5, 0.5, 2, 2])
    assert len(head_named("fcos").cell_shapes(DetectorSettings(head="fcos"))) == 1


def test_levels_correspond_by_their_share_of_the_image():
    exact = pair_levels(range(3, 8), 128, range(3, 10), 512)
    assert [(p.student, p.teacher, p.ratio, p.exact) for p in exact] == [(i, i + 2, 1.0, True) for i in range(5)]
    between = pair_levels(range(3, 8), 192, range(3, 8), 512)
    assert [(p.student, p.teacher) for p in between] == [(0, 1), (1, 2), (2, 3), (3, 4)], "P7 has none that is near"
    assert all(p.ratio == pytest.approx(0.75) and not p.exact for p in between)
    assert pair_levels(range(3, 5), 64, range(3, 5), 512) == []


def test_an_assistant_has_its_partners_levels():
    assert assistant_levels((3, 7), (2, 6), size_shift(512, 256)) == (3, 7)
    assert assistant_levels((3, 7), (3, 7), size_shift(512, 128)) == (3, 9)
    assert assistant_levels((4, 6), (2, 4), size_shift(256, 256)) == (2, 6)


def test_coverage_equals_trying_every_anchor():
    settings = DetectorSettings(levels=(3, 5), scales=2)
    corners = RNG.uniform(0, 90, (200, 2))
    boxes = np.concatenate([corners, corners + RNG.uniform(3, 60, (200, 2))], axis=1).clip(0, 96).astype(np.float32)
    sizes = np.tile([96, 96], (200, 1))
    anchors = np.concatenate([level_anchors(settings, n, (96 >> n, 96 >> n)) for n in settings.numbers])
    best = box_iou(torch.from_numpy(boxes), torch.tensor(anchors)).amax(dim=1)
    assert coverage(boxes, sizes, settings, settings.numbers) == pytest.approx((best >= 0.5).float().mean().item())
    assert coverage(boxes[:0], sizes[:0], settings, settings.numbers) == 1


def test_points_that_were_told_of_as_the_first_take_what_is_small():
    """The assistant's shared levels cover what the student's do, of which they are the twins."""
    sizes = np.tile([96, 96], (200, 1))
    corners = RNG.uniform(0, 40, (200, 2))
    small = np.concatenate([corners, corners + RNG.uniform(3, 40, (200, 2))], axis=1).astype(np.float32)
    student = coverage(small / 2, sizes // 2, DetectorSettings(head="fcos", levels=(3, 5)), (3, 4, 5))
    assistant = DetectorSettings(head="fcos", levels=(3, 6))
    assert coverage(small, sizes, assistant, (4, 5, 6), (4, 6)) == pytest.approx(student, abs=1e-6)
    assert coverage(small, sizes, assistant, (4, 5, 6)) < student - 0.2


def test_points_cover_what_they_are_responsible_for():
    """As torchvision's rule says, point by point."""
    settings = DetectorSettings(head="fcos", levels=(3, 5))
    corners = RNG.uniform(0, 90, (200, 2))
    boxes = np.concatenate([corners, corners + RNG.uniform(3, 90, (200, 2))], axis=1).clip(0, 96).astype(np.float32)
    covered = np.zeros(200, bool)
    for number in settings.numbers:
        points = level_anchors(settings, number, (96 >> number, 96 >> number)).reshape(-1, 4)
        for i, (x0, y0, x1, y1) in enumerate(boxes):
            for point in points:
                x, y, stride = (point[0] + point[2]) / 2, (point[1] + point[3]) / 2, point[2] - point[0]
                ends = x - x0, y - y0, x1 - x, y1 - y
                low, high = (0 if number == 3 else 4 * stride), (np.inf if number == 5 else 8 * stride)
                near = max(abs(x - (x0 + x1) / 2), abs(y - (y0 + y1) / 2)) < 1.5 * stride
                covered[i] |= near and min(ends) > 0 and low < max(ends) < high
    assert coverage(boxes, np.tile([96, 96], (200, 1)), settings, settings.numbers) == pytest.approx(covered.mean())
