"""Terms that compare maps: each pairs them by depth, brings them to each other's shape, and sums over the pairs."""

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
        wanted: what the term asks of the teacher: by the map's number, the height and width to which it may be average-pooled.
    """

    compare: ClassVar[Callable[[Tensor, Tensor], Tensor]]
    pooled: ClassVar[bool]  # whether the larger map is pooled to the smaller one's size, so that the teacher's may be stored so
    adapter: ClassVar[str]  # for the dry run
    single_place: ClassVar[str] = ""  # what is to be said of a map with a single row or column

    def __init__(
        self, config: ATTerm | SPTerm | ICKDTerm | HintTerm | UpsampledTerm, student: FeatureSpec, teacher: FeatureSpec
    ) -> None:
        super().__init__()
        self.pairs = pair_maps(config.maps, student, teacher, config.kind)
        self.shapes = [common_parts(pair, student, teacher) for pair in self.pairs]
        self.wanted: dict[int, tuple[int, int]] = {}
        for (_, number), (ours, theirs) in zip(self.pairs, self.shapes, strict=True):
            whole = teacher.features[number]
            pooled = self.pooled and theirs == whole  # a map of which a part is compared is cut first
            size = (min(ours.height, theirs.height), min(ours.width, theirs.width)) if pooled else (whole.height, whole.width)
            height, width = self.wanted.get(number, (0, 0))
            self.wanted[number] = (max(height, size[0]), max(width, size[1]))
        self.projectors = nn.ModuleList(self.project(ours, theirs) for ours, theirs in self.shapes)

    def project(self, ours: MapSpec, theirs: MapSpec) -> nn.Module:
        """Make what brings the student's channels to the teacher's; by default nothing does."""
        return nn.Identity()

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Sum the comparisons of all pairs."""
        shares = [
            type(self).compare(project(_part(student.features[ours], near)), _part(teacher.features[theirs], far))
            for (ours, theirs), (near, far), project in zip(self.pairs, self.shapes, self.projectors, strict=True)
        ]
        return torch.stack(shares).sum()

    def describe(self) -> str:
        """Return which maps meet, for the dry run."""
        pairs = ", ".join(f"{ours} ↔ {theirs}" for ours, theirs in self.shapes)
        single = self.pooled and any(min(ours[1:]) == 1 or min(theirs[1:]) == 1 for ours, theirs in self.shapes)
        return f"maps {pairs} ({self.adapter}{self.single_place if single else ''})"


def _part(maps: Tensor, spec: MapSpec) -> Tensor:
    """Keep the upper left part of maps (N, C, H, W)."""
    return maps[..., : spec.height, : spec.width]


class AT(_MapTerm):
    """Attention transfer: see `functional.attention_transfer`."""

    compare = attention_transfer
    pooled = True
    adapter = "energy over the channels; the larger is pooled"
    single_place = "; a map of 1×1 has no places to compare, and adds nothing"


class SP(_MapTerm):
    """Similarity-preserving distillation: see `functional.similarity_preserving`."""

    compare = similarity_preserving
    pooled = False
    adapter = "similarities within the batch; any shapes"


class ICKD(_MapTerm):
    """Inter-channel correlation: see `functional.inter_channel_correlation`; its projector is trained (published: it is not)."""

    compare = inter_channel_correlation
    pooled = False
    adapter = "1×1 convolution and batch norm to the teacher's channels"

    def project(self, ours: MapSpec, theirs: MapSpec) -> nn.Module:
        """Make a 1×1 convolution without bias and a batch norm."""
        return nn.Sequential(nn.Conv2d(ours.channels, theirs.channels, 1, bias=False), nn.BatchNorm2d(theirs.channels))


class Hint(_MapTerm):
    """FitNet hints: see `functional.hint`; the student's map goes through a trained 1×1 convolution."""

    compare = hint
    pooled = True
    adapter = "1×1 convolution to the teacher's channels; the larger is pooled"

    def project(self, ours: MapSpec, theirs: MapSpec) -> nn.Module:
        """Make a 1×1 convolution."""
        return nn.Conv2d(ours.channels, theirs.channels, 1)


class Upsampled(_MapTerm):
    """The input-compression stage's feature loss: see `functional.upsampled_mse`.

    Raises:
        RecipeError: teacher and student have other channels there.
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
