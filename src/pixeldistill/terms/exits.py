"""Exit branches: every stage of the student learns the teacher's prediction, which any two architectures have in common."""

import torch
from torch import Tensor, nn

from pixeldistill.functional.exits import exit_loss
from pixeldistill.functional.sizes import in_float32
from pixeldistill.networks.heads import start_layer
from pixeldistill.recipe.losses import ExitsTerm
from pixeldistill.terms.pairing import choose_maps
from pixeldistill.types import Batch, FeatureSpec, MapSpec, Outputs


class Exits(nn.Module):
    """Branches on each of the student's maps, and their loss. See `functional.exit_loss`. Branches exist only in training.

    A branch is a depthwise-separable convolution of stride 2, an average over the remaining map, and a linear layer (ours: the
    paper's branches repeat the convolution down to 7×7, and use a transformer block on tokens).
    """

    def __init__(self, config: ExitsTerm, student: FeatureSpec, teacher: FeatureSpec) -> None:
        super().__init__()
        self.config = config
        self.numbers = choose_maps(config.maps, student, config.kind)
        self.maps = [student.features[number] for number in self.numbers]
        width = max(m.channels for m in student.features)
        self.branches = nn.ModuleList(_branch(m, width, student.classes) for m in self.maps)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Tensor:
        """Return the sum of the losses of the branches and of the prediction itself."""
        target = batch.views["student"].labels
        losses = [
            exit_loss(
                in_float32(branch(student.features[number])),
                teacher.logits,
                target,
                exponent=self.config.exponent,
                temperature=self.config.temperature,
            )
            for number, branch in zip(self.numbers, self.branches, strict=True)
        ]
        own = exit_loss(
            student.logits, teacher.logits, target, exponent=self.config.exponent, temperature=self.config.temperature
        )
        return torch.stack([*losses, own]).sum()

    def describe(self) -> str:
        """Describe the places of the branches, for the dry run."""
        return f"the prediction, and a branch on the student's {', '.join(map(str, self.maps))}"


def _branch(feature: MapSpec, width: int, classes: int) -> nn.Module:
    prediction = nn.Linear(width, classes)
    start_layer(prediction)
    return nn.Sequential(
        nn.Conv2d(feature.channels, feature.channels, 3, stride=2, padding=1, groups=feature.channels, bias=False),
        nn.Conv2d(feature.channels, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        prediction,
    )
