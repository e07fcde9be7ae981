"""Terms that compare maps. Each pairs maps by depth, converts them to a common shape, and sums over the pairs."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from pixeldistill.errors import RecipeError
from pixeldistill.functional.attention import attention_transfer
from pixeldistill.functional.correlation import inter_channel_correlation
from pixeldistill.functional.features import hint, upsampled_mse
from pixeldistill.functional.similarity import similarity_preserving
from pixeldistill.recipe.losses import ATTerm, HintTerm, ICKDTerm, SPTerm, UpsampledTerm
from pixeldistill.terms.pairing import common_parts, pair_maps
from pixeldistill.types import Batch, FeatureSpec, MapSpec, Outputs


class _MapTerm(nn.Module):
    """A function of two maps, applied to every pair.

    Attributes:
        wanted: the teacher's maps that the term needs, by number, with the height and width that they may be average-pooled to.
    """

    compare: ClassVar[Callable[[Tensor, Tensor], Tensor]]
    pooled: ClassVar[bool]  # whether the larger map is pooled to the smaller one's size, so that a cache may store pooled maps
    adapter: ClassVar[str]  # for the dry run
    single_place: ClassVar[str] = ""  # note about a map with a single row or column

    def __init__(
        self, config: ATTerm | SPTerm | ICKDTerm | HintTerm | UpsampledTerm, student: FeatureSpec, teacher: FeatureSpec
    ) -> None:
        super().__init__()
        self.pairs = pair_maps(config.maps, student, teacher, config.kind)
        self.shapes = [common_parts(pair, student, teacher) for pair in self.pairs]
        self.wanted: dict[int, tuple[int, int]] = {}
        for (_, number), (ours, theirs) in zip(self.pairs, self.shapes, strict=True):
            whole = teacher.features[number]
            pooled = self.pooled and theirs == whole  # a map that is compared only in part is cut first
            size = (min(ours.height, theirs.height), min(ours.width, theirs.width)) if pooled else (whole.height, whole.width)
            height, width = self.wanted.get(number, (0, 0))
            self.wanted[number] = (max(height, size[0]), max(width, size[1]))
        self.projectors = nn.ModuleList(self.project(ours, theirs) for ours, theirs in self.shapes)

    def project(self, ours: MapSpec, theirs: MapSpec) -> nn.Module:
        """Make the layer that converts the student's channels to the teacher's. By default there is none."""
        return nn.Identity()

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the sum over all pairs."""
        shares = [
            type(self).compare(project(_part(student.features[ours], near)), _part(teacher.features[theirs], far))
            for (ours, theirs), (near, far), project in zip(self.pairs, self.shapes, self.projectors, strict=True)
        ]
        return torch.stack(shares).sum()

    def describe(self) -> str:
        """Describe the paired maps, for the dry run."""
        pairs = ", ".join(f"{ours} ↔ {theirs}" for ours, theirs in self.shapes)
        single = self.pooled and any(min(ours[1:]) == 1 or min(theirs[1:]) == 1 for ours, theirs in self.shapes)
        return f"maps {pairs} ({self.adapter}{self.single_place if single else ''})"


def _part(maps: Tensor, spec: MapSpec) -> Tensor:
    """Return the upper left part of maps (N, C, H, W)."""
    return maps[..., : spec.height, : spec.width]


class AT(_MapTerm):
    """Attention transfer. See `functional.attention_transfer`."""

    compare = attention_transfer
    pooled = True
    adapter = "energy over the channels; the larger is pooled"
    single_place = "; a map of 1×1 has no places to compare, and adds nothing"


class SP(_MapTerm):
    """Similarity-preserving distillation. See `functional.similarity_preserving`."""

    compare = similarity_preserving
    pooled = False
    adapter = "similarities within the batch; any shapes"


class ICKD(_MapTerm):
    """Inter-channel correlation. See `functional.inter_channel_correlation`. Its projector is trained (published: it is not)."""

    compare = inter_channel_correlation
    pooled = False
    adapter = "1×1 convolution and batch norm to the teacher's channels"

    def project(self, ours: MapSpec, theirs: MapSpec) -> nn.Module:
        """Make a 1×1 convolution without bias and a batch norm."""
        return nn.Sequential(nn.Conv2d(ours.channels, theirs.channels, 1, bias=False), nn.BatchNorm2d(theirs.channels))


class Hint(_MapTerm):
    """FitNet hints. See `functional.hint`. The student's map passes through a trained 1×1 convolution."""

    compare = hint
    pooled = True
    adapter = "1×1 convolution to the teacher's channels; the larger is pooled"

    def project(self, ours: MapSpec, theirs: MapSpec) -> nn.Module:
        """Make a 1×1 convolution."""
        return nn.Conv2d(ours.channels, theirs.channels, 1)


class Upsampled(_MapTerm):
    """Feature loss of the input-compression stage. See `functional.upsampled_mse`.

    Raises:
        RecipeError: teacher and student have different channels there.
    """

    compare = upsampled_mse
    pooled = False
    adapter = "the student's upsampled, no projector"

    def project(self, ours: MapSpec, theirs: MapSpec) -> nn.Module:
        """Raise RecipeError if the channels differ."""
        if ours.channels != theirs.channels:
            raise RecipeError(
                f"term upsampled compares {ours} with {theirs}: it needs equal channels, so teacher and student of the same "
                "architecture; {kind: hint} projects, {kind: at} and {kind: sp} take any maps"
            )
        return nn.Identity()
