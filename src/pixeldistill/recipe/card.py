"""Card of a trained network: everything needed to rebuild it and to prepare its images. No torch."""

from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from pixeldistill.errors import WeightsError
from pixeldistill.recipe.base import Channels, Deviations, ImageSize, Strict
from pixeldistill.recipe.camera import Camera
from pixeldistill.recipe.data import Data
from pixeldistill.recipe.detector import DetectorSettings
from pixeldistill.storage.files import read_json
from pixeldistill.storage.records import _checked
from pixeldistill.storage.run_folder import CARD


class NetworkCard(Strict):
    """Card of a deployed network: everything needed to rebuild it and to prepare its images (network.json)."""

    task: str
    network: str
    image_size: ImageSize
    patch_size: PositiveInt | None
    options: dict[str, Any]
    enlarge: ImageSize | None
    stem_stride: PositiveInt | None
    detector: DetectorSettings | None
    classes: tuple[str, ...] = Field(min_length=1)
    mean: Channels
    std: Deviations
    bits: int | None = Field(ge=8, le=16)
    camera: Camera
    data: Data
    stage: str
    seed: int

    @property
    def built_for(self) -> int:
        """Image size that the network itself reads, after any enlargement."""
        return self.enlarge or self.image_size


def read_card(run: Path) -> NetworkCard:
    """Read a run's network.json. Raises WeightsError."""
    return _checked(NetworkCard, read_json(run / CARD, WeightsError), run / CARD, WeightsError)
