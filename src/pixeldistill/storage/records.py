"""Records of a training, checked when they are read: the network's card, its figures, a sweep's front. No torch."""

import csv
import io
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from pixeldistill.display.tables import Tables
from pixeldistill.display.text import printable, shown
from pixeldistill.errors import PixelDistillError, RunError
from pixeldistill.storage.files import read_json, read_text, write_file, write_json

Figures = dict[str, float | list[float | None] | None]


class DoneRecord(BaseModel):
    """Figures of a finished training, and its network's costs (done.json)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    network: str
    image_size: int
    crop: float
    crops: dict[float, float] | None  # loss on val by crop, if the crop was chosen
    encoding: str
    bytes: float
    macs: int
    parameters: int
    last: dict[Literal["val", "test"], Figures]
    best: dict[Literal["val", "test"], Figures]

    @model_validator(mode="after")
    def _measured(self) -> "DoneRecord":
        for figures in (*self.last.values(), *self.best.values()):
            if not figures or isinstance(next(iter(figures.values())), list):
                raise ValueError("figures that do not begin with the main one")
        if "val" not in self.last or self.last.keys() != self.best.keys():
            raise ValueError("figures of the last and of the best epoch are not of the same splits")
        return self


def read_done(path: Path) -> dict[str, Any]:
    """Read a training's done.json. Raises RunError."""
    return _checked(DoneRecord, read_json(path, mend=": remove its folder to begin anew"), path, RunError).model_dump()


class FrontRow(NamedTuple):
    """A student of a sweep: its folder inside the run's, whether it is on the front, and its figure on val."""

    folder: str
    front: bool
    val: float | None


def read_front(path: Path, error: type[PixelDistillError]) -> list[FrontRow]:
    """Read a sweep's frontier.csv. Raise the given error if it is damaged."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path, error))))
        return [FrontRow(row["folder"], row["front"] == "1", float(row["val"]) if row["val"] else None) for row in rows]
    except (KeyError, TypeError, ValueError, csv.Error) as failure:
        raise error(f"{path} is damaged ({shown(str(failure))}): give the sweep's command again") from failure


def read_history(path: Path) -> list[dict[str, float]]:
    """Read a training's log (metrics.csv), one row an epoch. Raise RunError if it is damaged."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path)), strict=True))
        return [{name: float(value) for name, value in row.items()} for row in rows]
    except (ValueError, TypeError, csv.Error) as error:
        raise RunError(f"{path} is damaged ({shown(str(error))}): remove its folder to begin anew") from error


def write_sheets(path: Path, sheets: Tables) -> None:
    """Write tables as Markdown, for people, and as JSON beside it, for the report."""
    write_file(path, sheets.markdown())
    write_json(path.with_suffix(".json"), asdict(sheets))


def read_sheets(path: Path) -> Tables | None:
    """Read tables by the name of their Markdown file. Return None if there are none. Raise RunError if they are damaged."""
    told = path.with_suffix(".json")
    if not told.is_file():
        return None
    try:
        return TypeAdapter(Tables).validate_python(read_json(told))
    except ValidationError as error:
        raise RunError(f"{told} is damaged: run `pixeldistill compare` or `sweep` again, which write it anew") from error


Model = TypeVar("Model", bound=BaseModel)


def _checked(model: type[Model], content: object, path: Path, error: type[PixelDistillError]) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as failure:
        first = failure.errors()[0]
        place = printable(".".join(map(str, first["loc"])))[:80]
        what = printable(first["msg"].removeprefix("Value error, "))[:120]
        raise error(
            f"{path} is damaged, of another version, or names a part whose package is not installed: "
            f"{place}{': ' if place else ''}{what}"
        ) from failure
