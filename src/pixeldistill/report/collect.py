"""What lies in run folders, for a page about them. No torch."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixeldistill.candidates import FRONT
from pixeldistill.errors import RunError, WeightsError
from pixeldistill.run_folder import find_run, seed_number, stage_number
from pixeldistill.tasks.headline import HEADLINES, headline

_OF_CLASSIFIER, _OF_DETECTOR = {"file", "label", "predicted", "probability"}, {"file", "truth", "objects"}


@dataclass(frozen=True)
class Trained:
    """One finished training: its folder, its card (network.json), record (stage.json) and figures (done.json)."""

    folder: Path
    seed: int
    card: dict[str, Any]
    record: dict[str, Any]
    figures: dict[str, Any]
    history: list[dict[str, float]]  # a row an epoch
    answers: list[dict[str, Any]]  # of every test image; empty where they were not kept

    def figure(self, split: str, which: str = "last") -> float | None:
        """Give the decisive figure of a split, a share."""
        found = self.figures[which].get(split)
        value = found[headline(found)] if found else None
        return None if value is None else float(value)


@dataclass(frozen=True)
class StageOfRun:
    """A stage with its seeds."""

    name: str
    number: int
    run: Path
    trained: list[Trained] = field(default_factory=list)

    @property
    def first(self) -> Trained:
        """Its first seed."""
        return self.trained[0]


@dataclass(frozen=True)
class Run:
    """A run folder: its stages in order, and the tables that comparisons and sweeps have left."""

    folder: Path
    stages: list[StageOfRun]
    student: StageOfRun  # whose card is shown: the last one, or the best on val of a sweep's front
    comparison: str
    frontier: str
    frontier_pictures: list[Path]

    @property
    def task(self) -> str:
        """Classification or detection."""
        figures = self.stages[0].first.figures["last"]["val"]
        return next(task for task, name in HEADLINES.items() if name == headline(figures))

    def stage(self, name: str) -> StageOfRun | None:
        """Find a stage by its name."""
        return next((stage for stage in self.stages if stage.name == name), None)


def collect(folders: Sequence[Path]) -> list[Run]:
    """Read finished trainings from run folders.

    Raises:
        RunError: a folder without any, or with a file that cannot be read.
    """
    return [_collect(folder) for folder in folders]


def given(weights: str) -> Trained | None:
    """Read the finished training that a recipe names as somebody's weights: a seed's, a stage's or a run's folder.

    None where no finished training is there (any more).

    Raises:
        RunError: a file that cannot be read.
    """
    try:
        folder = find_run(Path(weights))
    except WeightsError:
        return None
    return _read(folder) if (folder / "done.json").is_file() else None


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
        raise RunError(f"{folder} holds no finished training: name the folder of a run, such as runs/demo")
    texts = {name: folder / f"{name}.md" for name in ("comparison", "frontier")}
    found = {name: path.read_text(encoding="utf-8") if path.is_file() else "" for name, path in texts.items()}
    pictures = sorted(folder.glob("frontier-*.png"))
    return Run(folder, list(stages.values()), _student(folder, stages), found["comparison"], found["frontier"], pictures)


def _student(folder: Path, stages: dict[str, StageOfRun]) -> StageOfRun:
    last = list(stages.values())[-1]
    if not (folder / FRONT).is_file():
        return last
    try:
        with (folder / FRONT).open(encoding="utf-8", newline="") as file:
            best = max(
                (row for row in csv.DictReader(file) if row["front"] == "1"), key=lambda row: float(row["val"]), default=None
            )
        return stages.get(best["folder"].split("/")[0], last) if best else last
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise RunError(f"{folder / FRONT} cannot be read ({error}): give the sweep's command again") from error


def _read(folder: Path) -> Trained:
    try:
        card, record, figures = (_json(folder / name) for name in ("network.json", "stage.json", "done.json"))
        with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
            history = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        answers = _json(folder / "answers.json") if (folder / "answers.json").is_file() else []
        if not {"network", "side", "encoding", "bytes", "macs", "parameters", "last", "best"} <= figures.keys():
            raise ValueError("its done.json is another version's")
        if not all(isinstance(told, dict) and (told.keys() >= _OF_CLASSIFIER or told.keys() >= _OF_DETECTOR) for told in answers):
            raise ValueError("its answers.json is damaged")
        return Trained(folder, card["seed"], card, record, figures, history, answers)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder} cannot be read ({error}): train it again, or leave it out") from error


def _json(path: Path) -> Any:  # noqa: ANN401
    return json.loads(path.read_text(encoding="utf-8"))
