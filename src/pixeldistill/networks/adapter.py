"""What every network of ours has, whichever task it is for: other people's networks are adapted to it."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from pixeldistill.networks.input_tap import InputTap
from pixeldistill.types import FeatureSpec, Outputs

FinishHead = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


class Adapter(nn.Module, ABC):
    """A network whose call returns `Outputs`.

    Args (of `forward`): image (N, 3, H, W), RGB in [0, 1]; the network's own normalisation happens inside.

    Attributes:
        net: all that is saved, with the parameter names of timm or torchvision.
        spec: the shapes of the outputs at the built image size.
        mean, std: the network's normalisation.
        tap: keeps its input feature.
        notes: what a user should know of this network at this size.
    """

    net: nn.Module
    spec: FeatureSpec
    mean: tuple[float, ...]
    std: tuple[float, ...]
    tap: InputTap
    notes: list[str]

    @abstractmethod
    def forward(self, image: Tensor) -> Outputs:
        """Run the network on images (N, 3, H, W) in [0, 1]."""

    @property
    def task(self) -> str:
        """What it is trained for."""
        return self.spec.task

    @property
    @abstractmethod
    def backbone(self) -> nn.Module:
        """The network that makes maps of images."""

    @abstractmethod
    def prepare(self, image: Tensor) -> Tensor:
        """Normalise images, and bring them to the size that the backbone reads."""

    @property
    def finish_head(self) -> FinishHead | None:
        """What finishes the head from a level's towers, of a network that has such; see `Outputs`."""
        return None
