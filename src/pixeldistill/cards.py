"""What a training leaves about itself, checked when it is read: the network's card, its figures, a sweep's front. No torch."""

import csv
import io
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from pixeldistill.detectors import DetectorSettings
from pixeldistill.errors import PixelDistillError, RunError, WeightsError
from pixeldistill.files import read_json, read_text
from pixeldistill.inputs import Data, Imaging
from pixeldistill.run_folder import CARD
from pixeldistill.strict import Channels, Deviations, Side, Strict
from pixeldistill.tasks.headline import HEADLINES
from pixeldistill.wording import printable, shown


class NetworkCard(Strict):
    """A deployed network: all that it takes to rebuild it and to feed it (network.json)."""

    network: str
    side: Side
    patch: PositiveInt | None
    options: dict[str, Any]
    enlarge: Side | None
    stem_stride: PositiveInt | None
    detector: DetectorSettings | None
    classes: tuple[str, ...] = Field(min_length=1)
    mean: Channels
    std: Deviations
    bits: int | None = Field(ge=8, le=16)
    imaging: Imaging
    data: Data
    stage: str
    seed: int

    @property
    def built_for(self) -> int:
        """Side of the image that the network itself reads."""
        return self.enlarge or self.side


def read_card(run: Path) -> NetworkCard:
    """Read a run's network.json. Raises WeightsError."""
    return _checked(NetworkCard, read_json(run / CARD, WeightsError), run / CARD, WeightsError)


Figures = dict[str, float | list[float | None] | None]


class Done(BaseModel):
    """What a finished training reached and what its network costs (done.json)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    network: str
    side: int
    encoding: str
    bytes: float
    macs: int
    parameters: int
    last: dict[Literal["val", "test"], Figures]
    best: dict[Literal["val", "test"], Figures]

    @model_validator(mode="after")
    def _measured(self) -> "Done":
        names = set(HEADLINES.values())
        for figures in (*self.last.values(), *self.best.values()):
            if not names & figures.keys() or any(isinstance(figures.get(name), list) for name in names):
                raise ValueError(f"figures without {' or '.join(sorted(names))}")
        if "val" not in self.last or self.last.keys() != self.best.keys():
            raise ValueError("figures of the last and of the best epoch are not of the same splits")
        return self


def read_done(path: Path) -> dict[str, Any]:
    """Read a training's done.json. Raises RunError."""
    return _checked(Done, read_json(path, mend=": remove its folder to begin anew"), path, RunError).model_dump()


class FrontRow(NamedTuple):
    """A student of a sweep: its folder in the run's, whether it is on the front, and what it reached on val."""

    folder: str
    front: bool
    val: float | None


def read_front(path: Path, error: type[PixelDistillError]) -> list[FrontRow]:
    """Read a sweep's frontier.csv; raises the error where it is damaged."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path, error))))
        return [FrontRow(row["folder"], row["front"] == "1", float(row["val"]) if row["val"] else None) for row in rows]
    except (KeyError, TypeError, ValueError, csv.Error) as failure:
        raise error(f"{path} is damaged ({shown(str(failure))}): give the sweep's command again") from failure


def read_history(path: Path) -> list[dict[str, float]]:
    """Read a training's log (metrics.csv), a row an epoch. Raises RunError where it is damaged."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path)), strict=True))
        return [{name: float(value) for name, value in row.items()} for row in rows]
    except (ValueError, TypeError, csv.Error) as error:
        raise RunError(f"{path} is damaged ({shown(str(error))}): remove its folder to begin anew") from error


Model = TypeVar("Model", bound=BaseModel)


def _checked(model: type[Model], content: object, path: Path, error: type[PixelDistillError]) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as failure:
        first = failure.errors()[0]
        place = printable(".".join(map(str, first["loc"])))[:80]
        what = printable(first["msg"].removeprefix("Value error, "))[:120]
        raise error(f"{path} is damaged, or of another version: {place}{': ' if place else ''}{what}") from failure
