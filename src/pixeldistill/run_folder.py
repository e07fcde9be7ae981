"""Which training a run folder, `<run>/<n>-<stage>/seed-<s>/`, stands for. No torch."""

import csv
from pathlib import Path

from pixeldistill.candidates import FRONT
from pixeldistill.errors import WeightsError

CARD = "network.json"


def find_run(path: Path) -> Path:
    """Find the finished or saved training below a run folder: the last stage's first seed, where several are.

    Raises:
        WeightsError: there is none, or the run is a sweep.
    """
    if (path / CARD).is_file():
        return path
    if (path / FRONT).is_file():
        with (path / FRONT).open(encoding="utf-8", newline="") as file:
            best = [str(path / row["folder"]) for row in csv.DictReader(file) if row["front"] == "1"]
        raise WeightsError(f"{path} is a sweep with several students: name one, of its front {', '.join(best) or 'none is left'}")
    cards = sorted([*path.glob(f"*/{CARD}")] or [*path.glob(f"*/*/{CARD}")], key=lambda card: seed_number(card.parent))
    if not cards:
        raise WeightsError(f"{path} is no run folder: nothing was trained in it; train it first, or name the run that did")
    stage = max(cards, key=lambda card: stage_number(path / card.relative_to(path).parts[0])).relative_to(path).parts[0]
    return next(card for card in cards if card.relative_to(path).parts[0] == stage).parent


def stage_number(folder: Path) -> int:
    """Give the number of a stage's folder, 0 where it has none."""
    number = folder.name.partition("-")[0]
    return int(number) if number.isdigit() else 0


def seed_number(folder: Path) -> int:
    """Give the seed of a training's folder, 0 where it has none."""
    number = folder.name.removeprefix("seed-")
    return int(number) if number.isdigit() else 0
