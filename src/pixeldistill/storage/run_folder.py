"""Names in a run folder, `<run>/<n>-<stage>/seed-<s>/`, and the training that it stands for. No torch."""

import re
from collections.abc import Iterator
from pathlib import Path

from pixeldistill.errors import WeightsError

CARD = "network.json"
RECORD = "stage.json"
CHECKPOINT = "last.ckpt"
BEST = "best.safetensors"
DONE = "done.json"
LAST = "last.safetensors"
RECONSTRUCTION = "reconstruction.png"  # reconstructions from the student's input module
TEST_PREDICTIONS = "test_predictions.json"  # for every test image
METRICS = "metrics.csv"  # one row an epoch
MLFLOW_RUN = "mlflow_run.txt"  # id of the training's run in MLflow
EXPORTED, EXPORTED_BEST = "model.onnx", "model-best.onnx"  # network of the last epoch, of the best epoch
PREDICTIONS = "predictions"  # folder of pictures with found objects
RECIPE = "recipe.yaml"  # of a run on a folder of images without a recipe file
REPORT, REPORTS = "report.html", "reports.html"  # of one run, of several
FIGURES = "results.md"  # of a run: each stage's costs, and all its figures
COMPARISON, FRONTIER = "comparison.md", "frontier.md"  # tables of a comparison and of a sweep, each with a JSON file beside it
REFERENCES = "references.json"  # of a comparison: figures that belong to no method
FRONT = "frontier.csv"  # of a sweep: its students' costs and figures, and which are on the front


def find_run(path: Path) -> Path:
    """Return the finished or saved training below a run folder. If there are several, return the last stage's first seed.

    Raises:
        WeightsError: there is none, or the run is a sweep.
    """
    if (path / CARD).is_file():
        return path
    if (path / FRONT).is_file():
        from pixeldistill.storage.records import read_front  # it needs the names above

        best = [str(path / row.folder) for row in read_front(path / FRONT, WeightsError) if row.front]
        raise WeightsError(f"{path} is a sweep with several students: name one, of its front {', '.join(best) or 'none is left'}")
    cards = sorted([*path.glob(f"*/{CARD}")] or [*path.glob(f"*/*/{CARD}")], key=lambda card: seed_number(card.parent))
    if not cards:
        if not path.exists():
            raise WeightsError(f"{path} is not there: name a run folder, or an exported file")
        if not path.is_dir():
            raise WeightsError(
                f"{path} is a file: name the run folder that it lies in; of files, `predict` reads exported ones (such as .onnx)"
            )
        raise WeightsError(f"{path} is no run folder: nothing was trained in it; train it first, or name the run that did")
    stage = max(cards, key=lambda card: stage_number(path / card.relative_to(path).parts[0])).relative_to(path).parts[0]
    return next(card for card in cards if card.relative_to(path).parts[0] == stage).parent


def stage_number(folder: Path) -> int:
    """Return the number of a stage's folder, or 0 if it has none."""
    number = folder.name.partition("-")[0]
    return int(number) if number.isdigit() else 0


def seed_number(folder: Path) -> int:
    """Return the seed of a training's folder, or 0 if it has none."""
    number = folder.name.removeprefix("seed-")
    return int(number) if number.isdigit() else 0


def stage_folder(run: Path, number: int, name: str, seed: int) -> Path:
    """Return the folder of a stage's training with a seed."""
    return run / f"{number}-{name}" / f"seed-{seed}"


def stages_of(run: Path) -> Iterator[tuple[str, Path]]:
    """Return the stages that have a folder in a run, with their folders, whatever the folders' numbers."""
    for folder in sorted(run.iterdir()) if run.is_dir() else ():
        match = re.fullmatch(r"\d+-(.+)", folder.name)
        if match and any(folder.glob(f"seed-*/{RECORD}")):  # a real stage, not just a folder of that name
            yield match[1], folder


def renumber(run: Path, names: list[str]) -> None:
    """Rename the stages' folders to their current numbers in the recipe, for example after adding a control.

    A stage that is not in the recipe any more gets the number 0, so that it does not count as the last one.
    """
    for name, folder in list(stages_of(run)):
        wanted = run / f"{names.index(name) + 1 if name in names else 0}-{name}"
        if not wanted.exists():
            folder.rename(wanted)
