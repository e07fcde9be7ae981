"""Common interface of all networks, for any task. Networks of other libraries are adapted to it."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from pixeldistill.networks.input_tap import InputTap
from pixeldistill.types import FeatureSpec, Outputs

FinishHead = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


class Adapter(nn.Module, ABC):
    """A network that returns `Outputs` when called.

    Args (of `forward`): image (N, 3, H, W), RGB in [0, 1]; the network's own normalisation happens inside.

    Attributes:
        net: everything that is saved, with the parameter names of timm or torchvision.
        spec: the shapes of the outputs at the built image size.
        mean, std: the network's normalisation.
        tap: keeps its input feature.
        notes: remarks for the user about this network at this image size.
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
        """Task that the network is trained for."""
        return self.spec.task

    @property
    @abstractmethod
    def backbone(self) -> nn.Module:
        """Network that computes feature maps from images."""

    @abstractmethod
    def prepare(self, image: Tensor) -> Tensor:
        """Normalise images, and resize them to the size that the backbone reads."""

    @property
    def finish_head(self) -> FinishHead | None:
        """Function that finishes the head from a level's towers, if the network has towers. See `Outputs`."""
        return None
