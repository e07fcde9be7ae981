"""Passes: trainings that run side by side, because they share batches and teacher."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pixeldistill.recipe.recipe import Recipe
from pixeldistill.recipe.stage import Stage
from pixeldistill.storage.run_folder import stage_folder


class Training(NamedTuple):
    """One stage with one seed."""

    order: int  # position among all trainings of the recipe
    stage: Stage
    seed: int
    folder: Path

    @property
    def title(self) -> str:
        """Name of the training for the user."""
        return f"{self.folder.parent.name} seed {self.seed}"

    @property
    def shuffle_seed(self) -> int:
        """Seed of the order of the training's images."""
        return self.seed if self.stage.shuffle_seed is None else self.stage.shuffle_seed


def passes(recipe: Recipe, stages: Sequence[Stage]) -> list[list[Training]]:
    """Group all trainings of a recipe into passes over the data. No training comes before its sources.

    Trainings run side by side if they have the same schedule, crops and order of images, and the same teacher or none.
    Trainings in half precision run alone, because the scale of their gradients belongs to one training.
    """
    groups: list[list[Training]] = []
    pass_of: dict[str, int] = {}  # the last pass in which a stage is trained
    order = 0
    for number, stage in enumerate(stages, start=1):
        earliest = max((pass_of[source] + 1 for source in stage.sources), default=0)
        for seed in stage.seeds:
            training = Training(order, stage, seed, stage_folder(recipe.run, number, stage.name, seed))
            order += 1
            place = next(
                (i for i in range(earliest, len(groups)) if recipe.train_together and _together(groups[i], training)), None
            )
            if place is None:
                place = len(groups)
                groups.append([])
            groups[place].append(training)
            pass_of[stage.name] = max(place, pass_of.get(stage.name, 0))
    return groups


def first_folders(recipe: Recipe, stages: Sequence[Stage]) -> dict[str, Path]:
    """Return the folder of every stage's first seed, which later stages use as the stage."""
    return {s.name: stage_folder(recipe.run, number, s.name, s.seeds[0]) for number, s in enumerate(stages, start=1)}


def _together(group: Sequence[Training], training: Training) -> bool:
    if _stream(group[0]) != _stream(training) or training.stage.schedule.precision == "16":
        return False
    return all(
        t.stage.teacher is None or training.stage.teacher is None or _teacher(t.stage) == _teacher(training.stage) for t in group
    )


def _stream(training: Training) -> tuple[Any, ...]:
    stage = training.stage
    return stage.schedule, stage.augmentation, stage.crop_size, stage.distinct_views, training.shuffle_seed


def _teacher(stage: Stage) -> tuple[Any, ...]:
    return stage.teachers, stage.teacher_cache
