"""Terms for detectors. They compare corresponding levels (AFP): either their anchors are twins, or their maps are resized."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pixeldistill.errors import RecipeError
from pixeldistill.functional.mimicking import (
    align_statistics,
    class_map_kd,
    confidence,
    overlap_kd,
    pearson,
    quality_focal,
)
from pixeldistill.functional.sizes import in_float32
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.recipe.losses import BoxesTerm, CrossKDTerm, FKDTerm, PKDTerm, SupervisedTerm
from pixeldistill.tasks.detection import loss as detection
from pixeldistill.tasks.detection.heads.base import head_named
from pixeldistill.tasks.detection.pyramid import shared_grids
from pixeldistill.terms.pairing import level_pairs
from pixeldistill.types import Batch, BoxMaps, FeatureSpec, Outputs


class Alignment:
    """Alignment of two detectors' maps to the same places.

    Grids begin at the same corner. The part of one grid beyond the other is padding and is cut off. Twins have the same cells.
    Other levels' maps are read at the centres of the student's cells (bilinear), and boxes are converted to the student's
    anchors. Beyond the centres of the teacher's outer cells, the nearest cell is read. Its boxes are relative to its own place.

    Raises:
        RecipeError: the two detectors have no corresponding levels.
    """

    def __init__(self, kind: str, student: FeatureSpec, teacher: FeatureSpec) -> None:
        ours, theirs = _settings(student), _settings(teacher)
        self.pairs = level_pairs(student, teacher)
        if not self.pairs:
            raise RecipeError(
                f"term {kind}: no level of the student (P{ours.levels[0]}–P{ours.levels[1]} at {student.image_size[0]}) has its "
                f"like in the teacher's (P{theirs.levels[0]}–P{theirs.levels[1]} at {teacher.image_size[0]}): shift the levels"
            )
        self.head, self.shapes = head_named(ours.head), ours.shapes
        self.cells = self.head.cell_shapes(ours)
        self.grids = [(student.grids[p.student], teacher.grids[p.teacher]) for p in self.pairs]
        self.shared = [shared_grids(pair, *grids)[0] for pair, grids in zip(self.pairs, self.grids, strict=True)]
        self.unpaired = [number for place, number in enumerate(ours.numbers) if place not in {p.student for p in self.pairs}]
        self.names = [(ours.numbers[p.student], theirs.numbers[p.teacher]) for p in self.pairs]

    def rows(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return both detectors' values at common anchors, (N, A, values) each, for all pairs of levels, at least in float32."""
        theirs = [self._theirs(place, teacher) for place in range(len(self.pairs))]
        return self.ours(student), torch.cat([rows.flatten(1, 3) for rows in theirs], dim=1)

    def ours(self, student: Sequence[Tensor]) -> Tensor:
        """Return the student's values at the compared anchors, (N, A, values)."""
        both = zip(self.pairs, self.grids, self.shared, strict=True)
        return torch.cat([_cut(in_float32(student[pair.student]), ours, shared) for pair, (ours, _), shared in both], dim=1)

    def boxes(self, student: BoxMaps, teacher: BoxMaps) -> tuple[Tensor, Tensor]:
        """Return both detectors' boxes relative to the student's anchors, (N, A, 4) each."""
        converted = [
            self._converted(place, self._theirs(place, teacher.deltas)).flatten(1, 3) for place in range(len(self.pairs))
        ]
        return self.ours(student.deltas), torch.cat(converted, dim=1)

    def _theirs(self, place: int, teacher: Sequence[Tensor]) -> Tensor:
        """Return the teacher's values at the places of the student's level of a pair, (N, h, w, A, values)."""
        pair, (_, grid), shared = self.pairs[place], self.grids[place], self.shared[place]
        said = in_float32(teacher[pair.teacher])
        if pair.exact:
            return _cut(said, grid, shared).reshape(len(said), *shared, self.shapes, -1)
        maps = _by_place(said, grid, self.shapes).permute(0, 3, 1, 2)
        return resample(maps, shared, pair.ratio).permute(0, 2, 3, 1).reshape(len(said), *shared, self.shapes, -1)

    def _converted(self, place: int, deltas: Tensor) -> Tensor:
        """Convert boxes (N, h, w, A, 4) relative to the teacher's anchors to boxes relative to the student's anchors."""
        pair, (_, grid), shared = self.pairs[place], self.grids[place], self.shared[place]
        if pair.exact:
            return deltas
        below, right = (read_offset(n, size, pair.ratio, deltas) for n, size in zip(shared, grid, strict=True))
        away = torch.stack([right[None, :].expand(shared), below[:, None].expand(shared)], dim=-1).unsqueeze(2)  # (h, w, 1, 2)
        extent = deltas.new_tensor(self.cells).flip(1)  # width and height of each anchor, in strides
        return self.head.move(deltas, away, pair.ratio, extent)

    def describe(self) -> str:
        """Describe the paired levels, and the levels without a partner, for the dry run."""
        met = [
            f"P{ours} ↔ P{theirs} " + ("twins" if pair.exact else f"resized (anchors {pair.ratio:.2f} times as large)")
            for (ours, theirs), pair in zip(self.names, self.pairs, strict=True)
        ]
        return ", ".join([*met, *(f"P{number} alone" for number in self.unpaired)])


class DetectionLoss(nn.Module):
    """Loss of the detector. See `tasks.detection.loss.supervised_loss`."""

    def __init__(self, config: SupervisedTerm, student: FeatureSpec, teacher: FeatureSpec | None) -> None:
        super().__init__()
        self.settings, self.grids, self.shared_levels = _settings(student), student.grids, config.shared_levels
        if self.shared_levels and not set(self.shared_levels) <= set(self.settings.numbers):
            first, last = self.settings.levels
            raise RecipeError(
                f"term supervised: shared_levels {list(self.shared_levels)} are not among the levels P{first}–P{last}"
            )

    def forward(self, student: Outputs, teacher: Outputs | None, batch: Batch) -> Tensor:
        """Compare the student's prediction with the objects in its view."""
        objects = batch.views["student"].objects
        return detection.supervised_loss(student.boxes, objects, self.settings, self.grids, self.shared_levels)

    def describe(self) -> str:
        """Describe the levels that are matched among themselves, for the dry run."""
        if self.shared_levels is None:
            return "objects matched with all levels"
        first, last = self.shared_levels
        return f"objects matched with P{first}–P{last} as if there were no other levels, with the rest as usual"


class _Aligned(nn.Module):
    """A term that compares corresponding levels.

    Attributes:
        of_anchors: whether predictions are compared. Both detectors then need the same anchors.
    """

    of_anchors = True

    def __init__(self, config: PKDTerm | BoxesTerm | FKDTerm | CrossKDTerm, student: FeatureSpec, teacher: FeatureSpec) -> None:
        super().__init__()
        self.config: Any = config
        ours, theirs = _settings(student).anchors, _settings(teacher).anchors
        if self.of_anchors and ours != theirs:
            name = next(name for name in ours if ours[name] != theirs.get(name))
            raise RecipeError(
                f"term {config.kind} compares anchors one by one: the student's detector has {name} {ours[name]}, its teacher's "
                f"{theirs[name]}: give both the same"
            )
        self.alignment = Alignment(config.kind, student, teacher)

    def describe(self) -> str:
        """Describe the paired levels, for the dry run."""
        return self.alignment.describe()


class ClassMaps(_Aligned):
    """L_PKD of a detector. See `functional.class_map_kd`. The labels' part is the term `supervised`."""

    def __init__(self, config: PKDTerm, student: FeatureSpec, teacher: FeatureSpec) -> None:
        super().__init__(config, student, teacher)
        if config.standardised:
            raise RecipeError("term pkd: `standardised` is of classifiers, and this is a detector: leave it out")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Compare the class maps of corresponding levels."""
        ours, theirs = self.alignment.rows(student.boxes.logits, teacher.boxes.logits)
        loss: Tensor = self.config.alpha * class_map_kd(ours, theirs, temperature=self.config.temperature)
        return loss


class Boxes(_Aligned):
    """Distillation of boxes where the teacher is confident. See `functional.box_kd` and, for points, `functional.sides_kd`."""

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Compare the boxes (and, for points, the centerness) of corresponding levels."""
        _, logits = self.alignment.rows(student.boxes.logits, teacher.boxes.logits)
        return mimic_boxes(self.alignment, student.boxes, teacher.boxes, confidence(logits, self.config.threshold))

    def describe(self) -> str:
        """Describe the paired levels, for the dry run."""
        return f"{super().describe()}; where the teacher's confidence is {self.config.threshold:g} or more"


class FKD(_Aligned):
    """Distillation of the pyramid's levels by mean squared difference, or by the channels' correlation (`functional.pearson`).

    Attributes:
        wanted: the teacher's maps that the term needs: its levels, unchanged.
    """

    of_anchors = False

    def __init__(self, config: FKDTerm, student: FeatureSpec, teacher: FeatureSpec) -> None:
        super().__init__(config, student, teacher)
        self.wanted = {pair.teacher: theirs for pair, (_, theirs) in zip(self.alignment.pairs, self.alignment.grids, strict=True)}
        ours, theirs = student.features[0].channels, teacher.features[0].channels
        same = ours == theirs
        self.projectors = nn.ModuleList(nn.Identity() if same else nn.Conv2d(ours, theirs, 1) for _ in self.alignment.pairs)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the sum over all pairs of levels, as published."""
        compare = pearson if self.config.form == "pearson" else F.mse_loss
        losses = []
        for pair, (height, width), project in zip(self.alignment.pairs, self.alignment.shared, self.projectors, strict=True):
            ours, theirs = in_float32(project(student.features[pair.student])), in_float32(teacher.features[pair.teacher])
            same = theirs[..., :height, :width] if pair.exact else resample(theirs, (height, width), pair.ratio)
            losses.append(compare(ours[..., :height, :width], same))
        return torch.stack(losses).sum()

    def describe(self) -> str:
        """Describe the paired levels, for the dry run."""
        return f"{super().describe()}; {self.config.form}"


class CrossKD(_Aligned):
    """Distillation of a detector's head: the teacher's frozen head finishes the student's head features and mimics the teacher.

    The student's own prediction then learns only from the labels, which may disagree with the teacher. The student's features
    get the mean and deviation of the teacher's features, channel by channel.

    Source:
        Wang et al., CrossKD: Cross-Head Knowledge Distillation for Object Detection, CVPR 2024, as in its code. The features
        enter the teacher's head after three convolutions of RetinaNet's head, two of FCOS's. Classes use
        `functional.mimicking.quality_focal`, boxes GIoU (FCOS: the logarithm of the IoU) weighted by the teacher's confidence.
        Sums are per matched anchor (FCOS: per centerness), with CrossKD's weights. In a head with fewer convolutions, the
        features enter before its last one (ours).
    """

    def __init__(self, config: CrossKDTerm, student: FeatureSpec, teacher: FeatureSpec) -> None:
        super().__init__(config, student, teacher)
        self.settings, self.grids = _settings(student), student.grids
        for name in ("channels", "depth"):
            if (a := getattr(_settings(student), name)) != (b := getattr(_settings(teacher), name)):
                raise RecipeError(
                    f"term crosskd hands features to the teacher's head: both need the same {name}, not {a} and {b}"
                )

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Compare the teacher head's prediction from the student's features with the teacher's prediction."""
        assert batch.teacher_head is not None
        crossed: list[tuple[Tensor, ...]] = [(*level,) for level in student.towers]  # levels without a partner are not read
        for pair in self.alignment.pairs:
            both = zip(student.towers[pair.student], teacher.towers[pair.teacher], strict=True)
            aligned = [align_statistics(in_float32(ours), in_float32(theirs)) for ours, theirs in both]
            crossed[pair.student] = batch.teacher_head(*aligned)
        weights, count = detection.counted(batch.views["student"].objects, self.settings, self.grids)
        ours, theirs = self.alignment.rows([level[0] for level in crossed], teacher.boxes.logits)
        weight = self.alignment.ours(weights).squeeze(2)
        boxes = self.alignment.boxes(BoxMaps((), tuple(level[1] for level in crossed)), teacher.boxes)
        head, cell = self.alignment.head, ours.new_tensor([-0.5, -0.5, 0.5, 0.5])
        mine, taught = (head.decode(deltas, cell) for deltas in boxes)
        of_boxes = overlap_kd(mine, taught, weight * theirs.sigmoid().amax(dim=2), logarithm=head.mimic_by_logarithm)
        share = head.mimic_weights
        total: Tensor = (share[0] * quality_focal(ours, theirs, weight) + share[1] * of_boxes) / count
        return total


def mimic_boxes(alignment: Alignment, student: BoxMaps, teacher: BoxMaps, weight: Tensor) -> Tensor:
    """Return the distance of two detectors' boxes at the same anchors or points; for points, including the centerness."""
    ours, theirs = alignment.boxes(student, teacher)
    central = alignment.rows(student.centerness, teacher.centerness) if student.centerness else None
    return alignment.head.mimic(ours, theirs, central, weight)


def resample(maps: Tensor, grid: tuple[int, int], ratio: float) -> Tensor:
    """Read the teacher's maps (N, C, H, W) at the centres of the student's cells, (N, C, h, w), bilinearly.

    Both grids begin at the image's corner. The teacher's cells are `ratio` times as large, as fractions of the image. Beyond
    the outer cells' centres, the values of these cells are used.
    """
    ends = []
    for count, size in zip(grid, maps.shape[2:], strict=True):
        place = (torch.arange(count, device=maps.device, dtype=maps.dtype) + 0.5) / ratio
        ends.append(2 * place / size - 1)
    y, x = torch.meshgrid(*ends, indexing="ij")
    places = torch.stack([x, y], dim=-1).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, places, mode="bilinear", padding_mode="border", align_corners=False)


def read_offset(count: int, size: int, ratio: float, like: Tensor) -> Tensor:
    """Return the offset from the centres of the student's cells to where the teacher's rows (or columns) are read: (count,).

    It is in the teacher's cells, and 0 except at the edge, see `resample`.
    """
    place = (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / ratio
    return place.clamp(0.5, size - 0.5) - place


def _settings(spec: FeatureSpec) -> DetectorSettings:
    assert spec.detector is not None
    return spec.detector


def _by_place(values: Tensor, grid: tuple[int, int], shapes: int) -> Tensor:
    """Reshape rows (N, H·W·A, V) to (N, H, W, A·V)."""
    return values.reshape(len(values), *grid, shapes * values.shape[2])


def _cut(values: Tensor, grid: tuple[int, int], part: tuple[int, int]) -> Tensor:
    """Return the rows (N, H·W·A, V) of a grid's upper left part."""
    if grid == part:
        return values
    (height, width), shapes = part, values.shape[1] // (grid[0] * grid[1])
    return _by_place(values, grid, shapes)[:, :height, :width].reshape(len(values), -1, values.shape[2])
