"""Terms for detectors: which levels and anchors meet, what they cost, who learns."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import box_iou, generalized_box_iou

from pixeldistill.errors import RecipeError
from pixeldistill.functional.boxes import decode_boxes, decode_sides, encode_boxes, encode_sides
from pixeldistill.functional.mimicking import (
    box_kd,
    class_map_kd,
    confidence,
    overlap_kd,
    pearson,
    quality_focal,
    sides_kd,
)
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.recipe.losses import (
    ATTerm,
    BoxesTerm,
    CrossKDTerm,
    FKDTerm,
    HintTerm,
    ISRDTerm,
    PKDTerm,
    SupervisedTerm,
    UpsampledTerm,
)
from pixeldistill.tasks.detection.detector import build_detector
from pixeldistill.tasks.detection.heads.base import IGNORED
from pixeldistill.tasks.detection.loss import anchors_of, match
from pixeldistill.terms import build_term
from pixeldistill.terms.detection import Alignment, mimic_boxes
from pixeldistill.training.objective import Objective
from pixeldistill.types import Batch, BoxMaps, BoxTarget, View

LIGHT = {"channels": 64, "depth": 2, "scales": 1, "levels": (3, 5)}
KINDS = [
    PKDTerm(kind="pkd"), BoxesTerm(kind="boxes", threshold=0), FKDTerm(kind="fkd"), FKDTerm(kind="fkd", form="mse"),
    CrossKDTerm(kind="crosskd"), ISRDTerm(kind="isrd"), ATTerm(kind="at"), HintTerm(kind="hint"),
]  # fmt: skip


def detector(side, **changes):
    return build_detector("test_resnet", 3, side, DetectorSettings(**(LIGHT | changes)))


def batch_of(student_size, teacher, teacher_size):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(2, 3, teacher_size, teacher_size, generator=generator)
    small = F.interpolate(image, (student_size, student_size), mode="bilinear", antialias=True)
    target = BoxTarget(torch.tensor([[[4.0, 4, 20, 24]], [[2, 2, 12, 30]]]), torch.tensor([[0], [2]]))
    with torch.no_grad():
        said = teacher.eval()(image)
    views = {"student": View(small, target), "teacher": View(image, target)}
    return Batch(views, said, teacher_head=teacher.finish)


@pytest.mark.parametrize("head", ["retinanet", "fcos"])
@pytest.mark.parametrize("config", KINDS, ids=lambda config: f"{config.kind}-{getattr(config, 'form', '')}")
@pytest.mark.parametrize("side", [32, 48, 64])
def test_every_term_teaches_the_student_alone(head, config, side):
    """Over a size ratio of two (twins), of four thirds (resized), and none."""
    teacher = detector(64, head=head, levels=(3, 6)).requires_grad_(False)
    student = detector(side, head=head)
    objective = Objective(student, teacher.spec, (SupervisedTerm(kind="supervised"), config), 1)
    losses = objective(batch_of(side, teacher, 64))
    assert all(torch.isfinite(loss) for loss in losses.values()) and losses[config.kind] > 0
    losses[config.kind].backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in student.parameters())
    assert all(p.grad is not None for p in objective.terms[config.kind].parameters())
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize(("side", "cells"), [(50, (6, 3, 2)), (56, (7, 3, 2)), (37, (5, 2, 1))])
def test_nothing_is_taught_beyond_the_teachers_image(side, cells):
    """Of 50 pixels, padded to 64, a map has eight cells a side; the centres of six lie in a teacher's image of 64."""
    student, teacher = detector(side), detector(64, levels=(3, 6)).requires_grad_(False)
    alignment = Alignment("pkd", student.spec, teacher.spec)
    assert alignment.shared == [(n, n) for n in cells]
    assert any(not pair.exact for pair in alignment.pairs)
    batch = batch_of(side, teacher, 64)
    outputs = student(batch.views["student"].image)
    for config in (PKDTerm(kind="pkd"), BoxesTerm(kind="boxes", threshold=0.0), FKDTerm(kind="fkd")):
        maps = {"pkd": outputs.boxes.logits, "boxes": outputs.boxes.deltas, "fkd": outputs.features}[config.kind]
        loss = build_term(config, student.spec, teacher.spec)(outputs, batch.teacher, batch)
        (learned,) = torch.autograd.grad(loss, maps[0], retain_graph=True)
        grid = alignment.grids[0][0]
        rows = learned if config.kind == "fkd" else learned.reshape(len(learned), *grid, -1).permute(0, 3, 1, 2)
        assert rows[..., : cells[0], : cells[0]].abs().sum() > 0
        assert rows[..., cells[0] :, :].abs().sum() == rows[..., cells[0] :].abs().sum() == 0


@pytest.mark.parametrize(
    "config", [ATTerm(kind="at"), UpsampledTerm(kind="upsampled"), HintTerm(kind="hint")], ids=lambda c: c.kind
)
def test_maps_are_compared_where_both_show_the_image(config):
    """A student at 48 is padded to 64, its teacher at 96 is not: 8 and 6 cells for the same level."""
    student, teacher = detector(48), detector(96, levels=(3, 6))
    batch = batch_of(48, teacher, 96)
    term = build_term(config.model_copy(update={"maps": (0,)}), student.spec, teacher.spec)
    if config.kind == "hint":
        nn.init.dirac_(term.projectors[0].weight)
        nn.init.zeros_(term.projectors[0].bias)
    outputs = student(batch.views["student"].image)
    theirs = batch.teacher.features[1]
    assert theirs.shape[2:] == (6, 6) and outputs.features[0].shape[2:] == (8, 8)
    alike = F.pad(theirs, (0, 2, 0, 2), value=9.0)
    for map_, same in ((alike, True), (alike.flip(2), False)):
        loss = term(outputs._replace(features=(map_, *outputs.features[1:])), batch.teacher, batch)
        assert (loss < 1e-6) == same


@pytest.mark.parametrize("side", [32, 50, 100])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_twins_are_never_resized(side, shift, monkeypatch):
    """For odd sizes too: what one of the grids has beyond the other, in the padding, is cut off."""
    student, teacher = detector(side), detector(side << shift, levels=(3, 5 + shift)).requires_grad_(False)
    batch = batch_of(side, teacher, side << shift)
    outputs = student(batch.views["student"].image)

    def refuse(*_args, **_settings):
        raise AssertionError("resized")

    monkeypatch.setattr(F, "interpolate", refuse)
    monkeypatch.setattr("pixeldistill.terms.detection.resample", refuse)
    for config in KINDS[:5]:
        build_term(config, student.spec, teacher.spec)(outputs, batch.teacher, batch)


@pytest.mark.parametrize("head", ["retinanet", "fcos"])
@pytest.mark.parametrize(("small", "large"), [(50, 200), (80, 128), (100, 256), (96, 224)])
def test_rows_that_meet_are_of_the_same_place(head, small, large):
    """A map that says where it is: student and teacher say the same there, as fractions of the image, twins or not."""
    student, teacher = detector(small, head=head), detector(large, head=head, levels=(3, 7))
    alignment = Alignment("x", student.spec, teacher.spec)
    shapes = student.settings.shapes

    def places(spec):
        rows = []
        for number, (height, width) in zip(spec.detector.numbers, spec.grids, strict=True):
            y, x = torch.meshgrid(
                *((torch.arange(n) + 0.5) * 2**number / spec.image_size[0] for n in (height, width)), indexing="ij"
            )
            size = torch.full_like(x, 2**number / spec.image_size[0])
            rows.append(torch.stack([x, y, size], dim=-1).reshape(1, -1, 1, 3).expand(1, -1, shapes, 3).reshape(1, -1, 3))
        return rows

    ours, theirs = (rows[0, :, :2] for rows in alignment.rows(places(student.spec), places(teacher.spec)))
    margin = 2 ** (5 + 1) / large / 2  # beyond the outer cells' centres the edge goes on
    inside = ((ours > margin) & (ours < 1 - margin)).all(dim=1)
    assert inside.sum() > 10 and torch.allclose(ours[inside], theirs[inside], atol=1e-5)


def test_boxes_are_converted_where_anchors_are_of_another_size():
    """The teacher's box, relative to its own anchor, is the same part of the image relative to the student's."""
    student, teacher = detector(48, levels=(3, 3)), detector(64, levels=(3, 3))
    (pair,) = Alignment("x", student.spec, teacher.spec).pairs
    assert pair.ratio == pytest.approx(0.75)
    batch = batch_of(48, teacher, 64)
    constant = torch.tensor([0.2, -0.1, 0.3, 0.4]).expand_as(batch.teacher.boxes.deltas[0])
    said = batch.teacher.boxes._replace(deltas=(constant,))
    own = student(batch.views["student"].image).boxes
    _, converted = Alignment("x", student.spec, teacher.spec).boxes(own, said)
    expected = torch.tensor([0.15, -0.075, 0.3, 0.4]) + torch.tensor([0, 0, 1, 1]) * torch.log(torch.tensor(0.75))
    assert torch.allclose(converted, expected.expand_as(converted), atol=1e-5)


def test_sides_are_converted_where_strides_are_of_another_size():
    """Three strides of the teacher are 2.25 of a student whose strides are larger, as fractions of the image."""
    student, teacher = (detector(side, levels=(3, 3), head="fcos") for side in (48, 64))
    batch = batch_of(48, teacher, 64)
    said = batch.teacher.boxes._replace(deltas=(torch.full_like(batch.teacher.boxes.deltas[0], 3.0),))
    _, converted = Alignment("x", student.spec, teacher.spec).boxes(student(batch.views["student"].image).boxes, said)
    assert torch.allclose(converted, torch.full_like(converted, 2.25))


def crossing(head):
    """Give CrossKD of two detectors, what the student says, and a batch whose teacher's head says of anything what it knows."""
    student, teacher = detector(32, head=head), detector(64, head=head, levels=(3, 6)).requires_grad_(False)
    torch.nn.init.zeros_(teacher.net["head"].classification_head.cls_logits.bias)  # it is sure of much,
    torch.nn.init.ones_(teacher.net["head"].regression_head.bbox_reg.bias)  # of boxes that have an area
    term = build_term(CrossKDTerm(kind="crosskd"), student.spec, teacher.spec)
    batch = batch_of(32, teacher, 64)
    return term, student(batch.views["student"].image), batch


@pytest.mark.parametrize("head", ["retinanet", "fcos"])
def test_the_teachers_head_finishes_what_the_student_began(head):
    """Who says through the teacher's head what the teacher says, whatever the student's own head would, has nothing to learn."""
    term, own, batch = crossing(head)
    told = [[maps[i] for maps in batch.teacher.boxes if maps] for i in (1, 2, 3)]  # P4–P6, the student's P3–P5
    answers = iter(told)
    alike = term(own, batch.teacher, batch._replace(teacher_head=lambda *_towers: tuple(next(answers))))
    assert alike.item() == pytest.approx(0, abs=1e-5)
    assert term(own, batch.teacher, batch) > alike + 1e-3


@pytest.mark.parametrize(("head", "shares"), [("retinanet", (1, 1)), ("fcos", (0.4, 0.75))])
def test_crosskd_against_its_paper_and_code(head, shares):
    """All of it, written out once more: what is handed over, how it is scaled, what is compared, what it is divided by."""
    term, own, batch = crossing(head)
    teacher, objects = batch.teacher, batch.views["student"].objects
    settings = term.settings
    levels = anchors_of(settings, term.grids, objects.boxes.device)
    matched = match(levels, objects, settings)
    classes, boxes = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    split = [len(level) for level in levels]
    for place, number in enumerate((1, 2, 3)):
        handed = []
        for mine, theirs in zip(own.towers[place], teacher.towers[number], strict=True):
            rows, wanted = (x.transpose(0, 1).flatten(1) for x in (mine, theirs))
            scaled = (rows - rows.mean(1, keepdim=True)) / (rows.std(1, keepdim=True) + 1e-6)
            scaled = scaled * wanted.std(1, keepdim=True) + wanted.mean(1, keepdim=True)
            handed.append(scaled.reshape(mine.transpose(0, 1).shape).transpose(0, 1))
        logits, deltas, *_ = batch.teacher_head(*handed)
        p, q = logits.double().sigmoid(), teacher.boxes.logits[number].double().sigmoid()
        weight = (matched.split(split, dim=1)[place] != IGNORED).double()
        classes += (weight[..., None] * (p - q).abs() * -(q * p.log() + (1 - q) * (1 - p).log())).sum()
        decode = decode_sides if head == "fcos" else decode_boxes
        pairs = [decode(d.double(), levels[place].double()).flatten(0, 1) for d in (deltas, teacher.boxes.deltas[number])]
        if head == "retinanet":
            distance = 1 - torch.stack([generalized_box_iou(a[None], b[None])[0, 0] for a, b in zip(*pairs, strict=True)])
        else:
            distance = -torch.stack([box_iou(a[None], b[None])[0, 0] for a, b in zip(*pairs, strict=True)]).clamp(min=1e-6).log()
        boxes += ((weight * q.amax(dim=2)).flatten() * distance).sum()
    if head == "retinanet":
        count = (matched >= 0).sum()
    else:
        chosen = objects.boxes.gather(1, matched.clamp(min=0)[..., None].expand(-1, -1, 4))
        left, top, right, bottom = encode_sides(chosen, torch.cat(levels)).clamp(min=1e-6).unbind(-1)
        central = (left.minimum(right) / left.maximum(right) * top.minimum(bottom) / top.maximum(bottom)).sqrt()
        count = central[matched >= 0].sum()
    assert count > 1
    expected = (shares[0] * classes + shares[1] * boxes) / count
    assert term(own, teacher, batch).item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "config", "words"),
    [
        ({"anchor": 2}, PKDTerm(kind="pkd"), "has anchor 4.0, its teacher's 2.0"),
        ({"head": "fcos"}, BoxesTerm(kind="boxes"), "has head retinanet, its teacher's fcos"),
        ({"channels": 96}, CrossKDTerm(kind="crosskd"), "need the same channels, not 64 and 96"),
        ({}, PKDTerm(kind="pkd", standardised=True), "`standardised` is of classifiers"),
        ({"levels": (6, 7)}, FKDTerm(kind="fkd"), r"no level of the student \(P3–P5 at 32\) has its like"),
    ],
)
def test_detectors_that_cannot_be_compared(changes, config, words):
    with pytest.raises(RecipeError, match=words):
        build_term(config, detector(32).spec, detector(32, **changes).spec)


def test_features_are_compared_whatever_the_heads_and_anchors():
    """Levels that correspond are enough; points have no anchors that could differ."""
    for ours, theirs, config in (
        ({"head": "fcos"}, {"anchor": 2}, FKDTerm(kind="fkd")),
        ({"head": "fcos"}, {"head": "fcos", "anchor": 2}, PKDTerm(kind="pkd")),
    ):
        student, teacher = detector(32, **ours), detector(64, levels=(3, 6), **theirs).requires_grad_(False)
        objective = Objective(student, teacher.spec, (SupervisedTerm(kind="supervised"), config), 1)
        assert torch.isfinite(objective(batch_of(32, teacher, 64))[config.kind])


@pytest.mark.parametrize(
    ("head", "depth", "handed"),
    [("retinanet", 4, 3), ("retinanet", 3, 2), ("retinanet", 1, 0), ("fcos", 4, 2), ("fcos", 2, 1), ("fcos", 1, 0)],
)
def test_a_head_hands_over_before_an_activation(head, depth, handed):
    """After three convolutions of RetinaNet's head and two of FCOS's, or before the last one."""
    network = detector(64, head=head, depth=depth).eval()
    level = torch.randn(1, 64, 4, 4)
    classes, boxes = network.begin(level)
    modules = [m for m in network.net["head"].classification_head.conv.modules() if not isinstance(m, nn.Sequential)]
    convolutions = [i for i, m in enumerate(modules) if isinstance(m, nn.Conv2d)] + [len(modules)]
    assert len(convolutions) == depth + 1
    expected = level
    for module in modules[: max(0, convolutions[handed] - 1)]:
        expected = module(expected)
    assert torch.equal(classes, expected)
    assert (classes < 0).any() and (boxes < 0).any(), "the last module is no ReLU"
    head_of = network.net["head"].classification_head
    logits, *_ = network.finish(classes, boxes)
    whole = head_of.cls_logits(head_of.conv(level))
    assert torch.allclose(logits.view(1, 4, 4, -1).permute(0, 3, 1, 2), whole, atol=1e-6)


def test_levels_that_are_told_on_their_own_must_be_there():
    from pixeldistill.networks import build_classifier

    shared = SupervisedTerm(kind="supervised", shared_levels=(4, 6))
    with pytest.raises(RecipeError, match=r"shared_levels \[4, 6\] are not among the levels P3–P5"):
        build_term(shared, detector(32).spec, detector(64).spec)
    classifier = build_classifier("test_resnet", 3, 32).spec
    with pytest.raises(RecipeError, match="names levels of a detector, and this is a classifier"):
        build_term(shared, classifier, classifier)


def test_levels_without_a_partner_are_named():
    term = build_term(PKDTerm(kind="pkd"), detector(32).spec, detector(64, levels=(3, 5)).spec)
    assert "P4 ↔ P5 twins" in term.describe() and "P5 alone" in term.describe()


def test_class_maps_against_the_formula():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(2, 40, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    s, t = (torch.sigmoid(logits / 4) for logits in (student, teacher))
    kl = t * (t / s).log() + (1 - t) * ((1 - t) / (1 - s)).log()
    weight = (student.sigmoid() - teacher.sigmoid()) ** 2
    sure = teacher.sigmoid().amax(dim=2)
    expected = 16 * (weight * kl).sum() / sure[sure >= 0.1].sum()
    assert class_map_kd(student, teacher).item() == pytest.approx(expected.item(), rel=1e-9)


def test_boxes_and_quality_against_the_formulas():
    generator = torch.Generator().manual_seed(0)
    logits, student, teacher = (3 * torch.randn(2, 40, n, generator=generator, dtype=torch.float64) for n in (3, 4, 4))
    weight = confidence(logits)
    assert weight.sum() > 2, "the normaliser is the sum, not the number of images"
    expected = (weight[..., None] * (student - teacher).abs()).sum() / weight.sum()
    assert box_kd(student, teacher, weight).item() == pytest.approx(expected.item(), rel=1e-9)
    ends = [torch.stack([-s[..., 0], -s[..., 1], s[..., 2], s[..., 3]], dim=-1) for s in (student.abs(), teacher.abs())]
    overlap = 1 - generalized_box_iou(*(e.flatten(0, 1) for e in ends)).diagonal()
    expected = (weight.flatten() * overlap).sum() / weight.sum()
    assert sides_kd(student.abs(), teacher.abs(), weight).item() == pytest.approx(expected.item(), rel=1e-6)
    other = 3 * torch.randn(2, 40, 3, generator=generator, dtype=torch.float64)
    p, q = other.sigmoid(), logits.sigmoid()
    expected = (weight[..., None] * (q - p).abs() ** 1.5 * -(q * p.log() + (1 - q) * (1 - p).log())).sum()
    assert quality_focal(other, logits, weight, power=1.5).item() == pytest.approx(expected.item(), rel=1e-9)
    assert overlap_kd(*ends, weight).item() == pytest.approx((weight.flatten() * overlap).sum().item(), rel=1e-5)
    shared = -box_iou(*(e.flatten(0, 1) for e in ends)).diagonal().clamp(min=1e-6).log()
    assert overlap_kd(*ends, weight, logarithm=True).item() == pytest.approx((weight.flatten() * shared).sum().item(), rel=1e-5)


def test_pearsons_scale_does_not_count_at_small_variance_either():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(2, 3, 8, 8, generator=generator) for _ in range(2))
    expected = 1 - torch.stack(
        [torch.corrcoef(torch.stack([ours[:, c].flatten(), theirs[:, c].flatten()]))[0, 1] for c in range(3)]
    )
    for scale in (1.0, 1e-2, 1e-3):
        assert pearson(scale * ours, theirs).item() == pytest.approx(expected.mean().item(), rel=2e-2)


@pytest.mark.parametrize("form", ["pearson", "mse"])
def test_levels_are_summed(form):
    """As published."""
    student, teacher = detector(32), detector(64, levels=(3, 6))
    batch = batch_of(32, teacher, 64)
    own = student(batch.views["student"].image)
    compare = pearson if form == "pearson" else F.mse_loss
    expected = [compare(own.features[i], batch.teacher.features[i + 1]) for i in range(3)]
    term = build_term(FKDTerm(kind="fkd", form=form), student.spec, teacher.spec)
    assert term(own, batch.teacher, batch).item() == pytest.approx(sum(expected).item(), rel=1e-5)


def test_centerness_is_weighed_as_boxes_are():
    """By the teacher's confidence, and per unit of it."""
    student, teacher = (detector(32, head="fcos", levels=(3, 3)) for _ in range(2))
    batch = batch_of(32, teacher, 32)
    own, said = student(batch.views["student"].image).boxes, batch.teacher.boxes
    said = said._replace(logits=(said.logits[0] + 4,))
    weight = confidence(said.logits[0])
    same = (torch.ones_like(said.deltas[0]),)
    alignment = Alignment("x", student.spec, teacher.spec)
    supervised = mimic_boxes(alignment, own._replace(deltas=same), said._replace(deltas=same), weight)
    entropy = F.binary_cross_entropy_with_logits(own.centerness[0], said.centerness[0].sigmoid(), reduction="none")[..., 0]
    assert weight.sum() > 2
    assert supervised.item() == pytest.approx(((weight * entropy).sum() / weight.sum()).item(), rel=1e-5)


def test_losses_of_equals_are_zero_and_their_bounds_hold():
    generator = torch.Generator().manual_seed(0)
    logits, deltas = (torch.randn(2, 40, n, generator=generator) for n in (3, 4))
    weight, sides = confidence(logits), deltas.abs() + 0.1
    for value in (class_map_kd(logits, logits), box_kd(deltas, deltas, weight), sides_kd(sides, sides, weight)):
        assert value.item() == pytest.approx(0, abs=1e-6)
    assert quality_focal(logits, logits, torch.ones(logits.shape[:-1])).item() == pytest.approx(0, abs=1e-6)
    assert 0 <= sides_kd(sides, 3 * sides, weight) <= 2
    unsure = torch.full((2, 40, 3), -9.0)
    twice = (torch.cat([maps, maps], dim=1) for maps in (logits, unsure))
    assert class_map_kd(*twice) == pytest.approx(2 * class_map_kd(logits, unsure)), (
        "a teacher that sees nothing divides by images"
    )
    maps = torch.randn(2, 5, 4, 4, generator=generator)
    assert pearson(maps, -maps).item() == pytest.approx(2 * 31 / 32, abs=1e-4)


@pytest.mark.parametrize("side", [32, 48])
def test_terms_are_summed_in_single_precision(side):
    """Whatever autocast made of the maps: places and sums over thousands of anchors need more than eight bits."""
    torch.manual_seed(0)
    teacher, student = detector(64, levels=(3, 6)), detector(side)
    batch = batch_of(side, teacher, 64)
    for config in KINDS[:4]:
        term = build_term(config, student.spec, teacher.spec)
        with torch.no_grad():
            own = student.eval()(batch.views["student"].image)
            exact = term(own, batch.teacher, batch)

            def halved(outputs):
                boxes = type(outputs.boxes)(*(tuple(m.bfloat16() for m in maps) for maps in outputs.boxes))
                return outputs._replace(prediction=boxes, features=tuple(m.bfloat16() for m in outputs.features))

            half = term(halved(own), halved(batch.teacher), batch)
        assert half.dtype == torch.float32 and half.item() == pytest.approx(exact.item(), rel=0.05), config.kind


@pytest.mark.parametrize("head", ["retinanet", "fcos"])
@pytest.mark.parametrize(("side", "larger"), [(48, 64), (40, 64), (64, 96), (37, 64)])
def test_boxes_are_those_of_the_place_that_was_read(head, side, larger):
    """At a ratio that is no power of two: the box that the teacher gives everywhere is what is taught everywhere."""
    student, teacher = detector(side, head=head, levels=(3, 5)), detector(larger, head=head, levels=(3, 6))
    alignment = Alignment("boxes", student.spec, teacher.spec)
    assert any(not pair.exact for pair in alignment.pairs)
    box = torch.tensor([0.3, 0.2, 0.7, 0.5])  # shares of the image
    encode, decode = (encode_sides, decode_sides) if head == "fcos" else (encode_boxes, decode_boxes)
    grids = [spec.grids for spec in (student.spec, teacher.spec)]
    anchors = [anchors_of(d.settings, g, torch.device("cpu")) for d, g in zip((student, teacher), grids, strict=True)]
    said = tuple(encode((box * larger).expand(len(level), 4), level)[None] for level in anchors[1])
    own = tuple(torch.zeros(1, len(level), 4) for level in anchors[0])
    _, taught = alignment.boxes(BoxMaps((), own), BoxMaps((), said))
    kept = alignment.ours([level[None] for level in anchors[0]])[0]
    places = decode(taught[0], kept) / side
    if head == "fcos":
        assert torch.allclose(places, box.expand_as(places), atol=1e-4)
    else:
        centres = (places[:, :2] + places[:, 2:]) / 2
        assert torch.allclose(centres, (box[:2] + box[2:]).expand_as(centres) / 2, atol=1e-4)
