"""Measuring a former run again, for `pixeldistill evaluate`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixeldistill.data.check import check_images
from pixeldistill.data.loading import default_workers
from pixeldistill.data.splits import Splits, load_splits
from pixeldistill.errors import DataError, RunError
from pixeldistill.evaluation.evaluate import TestImages, evaluate
from pixeldistill.recipe.camera import InputSpec
from pixeldistill.recipe.card import read_card
from pixeldistill.recipe.recipe import Recipe
from pixeldistill.storage.claims import read_record
from pixeldistill.storage.run_folder import RECORD, find_run
from pixeldistill.tasks import task_of
from pixeldistill.tasks.networks import load_trained
from pixeldistill.training.fabric import make_fabric


@dataclass(frozen=True)
class Measured:
    """Figures of a run: `figures[last | best][val | test]`, see `Task.metrics`."""

    folder: Path
    classes: tuple[str, ...]
    images: Mapping[str, int]
    figures: Mapping[str, Mapping[str, Any]]


def measure_run(run: Path, recipe: Recipe | None = None, *, workers: int | None = None, accelerator: str = "auto") -> Measured:
    """Measure a run's last and best weights on the val and test splits of its own data, or of a recipe's.

    The images are taken with the recipe's `camera` if it has one, otherwise with the camera that the network was trained for.

    Raises:
        WeightsError: there is no finished training.
        DataError: the data is missing, or has other classes.
    """
    folder = find_run(run)
    card = read_card(folder)
    workers = default_workers() if workers is None else workers
    splits = splits_of_run(folder, recipe, workers=workers)
    camera = recipe.camera if recipe and "camera" in recipe.model_fields_set else card.camera
    camera = camera.cropped(card.camera.centre) if camera.crop == "auto" else camera
    fabric = make_fabric(accelerator=accelerator)
    images = {
        name: TestImages(samples, InputSpec(card.image_size, camera), task_of(card), workers, fabric)
        for name in ("val", "test")
        if (samples := getattr(splits, name))
    }
    figures = {}
    for which in ("last", "best"):
        network = load_trained(folder, which).to(fabric.device)
        figures[which] = {name: evaluate(network, split, fabric) for name, split in images.items()}
    return Measured(folder, splits.classes, {name: split.total for name, split in images.items()}, figures)


def splits_of_run(folder: Path, recipe: Recipe | None = None, *, workers: int | None = None) -> Splits:
    """Load the unchanged data of a finished training, or a recipe's data with the same classes.

    Raises:
        RunError: the folder does not state its training data.
        DataError: the data is missing or has changed.
    """
    card = read_card(folder)
    classes = card.classes
    if recipe is None:
        record = read_record(folder / RECORD)
        if "data_digest" not in record:
            raise RunError(f"{folder} does not say what data to measure on: name a --recipe")
        data, began_with = card.data, record["data_digest"]
    else:
        data, began_with = recipe.data, None
    wanted = task_of(card).rules.labels
    if data.labels != wanted:
        raise DataError(
            f"{folder} was trained on {wanted}, and the data has {data.labels}: name a --recipe whose data has {wanted}"
        )
    splits = check_images(load_splits(data), data, default_workers() if workers is None else workers)
    if began_with not in (None, splits.digest()):
        raise DataError(
            f"the data of {folder} has changed since it was trained, so that its test images may be training images: "
            "put it back, or name other data (evaluate: --recipe; export: --images)"
        )
    if splits.classes != classes:
        raise DataError(f"{folder} knows {len(classes)} classes, the data has {len(splits.classes)}, and they are not the same")
    return splits
