"""Reading run folders for a page about them. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pixeldistill.display.metric_names import headline
from pixeldistill.display.tables import Tables
from pixeldistill.errors import RunError, WeightsError
from pixeldistill.recipe.card import NetworkCard, read_card
from pixeldistill.recipe.stage import Stage
from pixeldistill.storage.files import read_json
from pixeldistill.storage.records import read_done, read_front, read_history, read_sheets
from pixeldistill.storage.run_folder import (
    COMPARISON,
    DONE,
    FRONT,
    FRONTIER,
    METRICS,
    RECORD,
    TEST_PREDICTIONS,
    find_run,
    seed_number,
    stage_number,
)


@dataclass(frozen=True)
class FinishedTraining:
    """One finished training: its folder, its card (network.json), its stage and its data's digest, its figures (done.json)."""

    folder: Path
    card: NetworkCard
    stage: Stage
    data_digest: str
    figures: dict[str, Any]
    history: list[dict[str, float]]  # one row an epoch
    predictions: list[dict[str, Any]]  # one for every test image; empty if they were not saved

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return self.card.seed

    def figure(self, split: str, which: str = "last") -> float | None:
        """Return the value of the main metric on a split, a share."""
        found = self.figures[which].get(split)
        value = found[headline(found)] if found else None
        return None if value is None else float(value)


@dataclass(frozen=True)
class StageOfRun:
    """A stage with its seeds."""

    name: str
    number: int
    run: Path
    trained: list[FinishedTraining] = field(default_factory=list)

    @property
    def first(self) -> FinishedTraining:
        """Training with the first seed."""
        return self.trained[0]


@dataclass(frozen=True)
class Run:
    """A run folder: its stages in order, and the tables of its comparisons and sweeps."""

    folder: Path
    stages: list[StageOfRun]
    student: StageOfRun  # its card is shown: the last stage, or the best one on val of a sweep's front
    tables: list[Tables]
    frontier_pictures: list[Path]

    @property
    def task(self) -> str:
        """Task of its networks."""
        return self.stages[0].first.card.task

    @property
    def headline(self) -> str:
        """Name of the main metric."""
        return headline(self.stages[0].first.figures["last"]["val"])

    def stage(self, name: str) -> StageOfRun | None:
        """Find a stage by its name."""
        return next((stage for stage in self.stages if stage.name == name), None)


def collect(folders: Sequence[Path]) -> list[Run]:
    """Read finished trainings from run folders.

    Raises:
        RunError: a folder has no finished training, or a file cannot be read.
    """
    return [_collect(folder) for folder in folders]


def given(weights: str) -> FinishedTraining | None:
    """Read the finished training that a recipe names as weights: a folder of a seed, a stage or a run.

    Return None if the folder has no finished training (any more).

    Raises:
        RunError: a file cannot be read.
    """
    try:
        folder = find_run(Path(weights))
    except WeightsError:
        return None
    return _read(folder) if (folder / DONE).is_file() else None


def _collect(folder: Path) -> Run:
    stages: dict[str, StageOfRun] = {}
    for done in sorted(
        folder.glob("*/seed-*/done.json"), key=lambda path: (stage_number(path.parent.parent), seed_number(path.parent))
    ):
        place, name = done.parent.parent, done.parent.parent.name.partition("-")[2]
        stage = stages.setdefault(place.name, StageOfRun(name, stage_number(place), folder))
        stage.trained.append(_read(done.parent))
    if not stages:
        run = next((place for place in folder.absolute().parents[:2] if any(place.glob("*-*/seed-*/done.json"))), None)
        if run:
            raise RunError(f"{folder} is a part of the run {run}: name that one, as a page is about all of it")
        raise RunError(
            f"{folder} holds no finished training: name the folder of a run; one that was stopped goes on by its own command"
        )
    tables = [sheets for name in (COMPARISON, FRONTIER) if (sheets := read_sheets(folder / name))]
    pictures = sorted(folder.glob("frontier-*.png"))
    return Run(folder, list(stages.values()), _student(folder, stages), tables, pictures)


def _student(folder: Path, stages: dict[str, StageOfRun]) -> StageOfRun:
    last = list(stages.values())[-1]
    if not (folder / FRONT).is_file():
        return last
    best = max((row for row in read_front(folder / FRONT, RunError) if row.front), key=lambda row: row.val or 0.0, default=None)
    return stages.get(best.folder.split("/")[0], last) if best else last


def _read(folder: Path) -> FinishedTraining:
    card, figures, record = read_card(folder), read_done(folder / DONE), read_json(folder / RECORD)
    try:
        stage, digest = Stage.model_validate(record["stage"]), str(record["data_digest"])
    except (TypeError, KeyError, ValueError) as error:
        raise RunError(
            f"{folder / RECORD} is damaged, of another version, or names a part whose package is not installed: install that, "
            "train it again, or leave it out"
        ) from error
    return FinishedTraining(
        folder, card, stage, digest, figures, read_history(folder / METRICS), _predictions(folder / TEST_PREDICTIONS)
    )


def _predictions(path: Path) -> list[dict[str, Any]]:
    """Read a network's predictions of every test image. Return an empty list if they were not saved."""
    if not path.is_file():
        return []
    predictions = read_json(path)
    try:
        return [record.model_dump(by_alias=True, exclude_none=True) for record in _RECORDS.validate_python(predictions)]
    except (TypeError, ValueError) as error:
        raise RunError(f"{path} is damaged: train it again, or remove it") from error


class _Classified(BaseModel):
    file: str
    label: str
    predicted: str
    probability: float


class _Object(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    name: str = Field(alias="class")
    box: tuple[float, float, float, float]
    probability: float | None = None


class _Detected(BaseModel):
    file: str
    truth: list[_Object]
    objects: list[_Object]


_RECORDS: TypeAdapter[list[_Classified | _Detected]] = TypeAdapter(list[_Classified | _Detected])
