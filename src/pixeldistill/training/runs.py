"""Run folders: `<run>/<n>-<stage>/seed-<s>/`, and what made them."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pixeldistill.cards import read_done
from pixeldistill.errors import RunError
from pixeldistill.files import differences, read_json, write_json
from pixeldistill.run_folder import CHECKPOINT, DONE, RECORD


def stage_folder(run: Path, number: int, name: str, seed: int) -> Path:
    """Name the folder of a stage's training with a seed."""
    return run / f"{number}-{name}" / f"seed-{seed}"


def stages_of(run: Path) -> Iterator[tuple[str, Path]]:
    """Give the stages that have a folder in a run, with it, whatever its number."""
    for folder in sorted(run.iterdir()) if run.is_dir() else ():
        match = re.fullmatch(r"\d+-(.+)", folder.name)
        if match and any(folder.glob(f"seed-*/{RECORD}")):  # not just a folder of that name
            yield match[1], folder


def renumber(run: Path, names: list[str]) -> None:
    """Give the stages' folders the numbers that the recipe gives them now: a control that was added moves the others.

    A stage that the recipe does not have any more gets the number 0: it is not to be taken for the last one.
    """
    for name, folder in list(stages_of(run)):
        wanted = run / f"{names.index(name) + 1 if name in names else 0}-{name}"
        if not wanted.exists():
            folder.rename(wanted)


def claim(folder: Path, record: dict[str, Any]) -> dict[str, Any] | None:
    """Begin or go on with a training: its result if it is done, or None.

    Where nothing has been trained yet, another recipe may take the folder.

    Raises:
        RunError: the folder was made by another recipe; says what changed.
    """
    check_record(folder, record)
    if not begun(folder):
        write_json(folder / RECORD, record)
    return read_done(folder / DONE) if (folder / DONE).is_file() else None


def check_record(folder: Path, record: dict[str, Any]) -> None:
    """Refuse to go on with a training that another recipe has begun. Raises RunError."""
    if not begun(folder):
        return
    before, record = read_record(folder / RECORD), json.loads(json.dumps(record))
    changes = [change.removeprefix("stage.") for change in differences(before, record)]
    if changes and before | {"data_digest": record["data_digest"]} == record:
        raise RunError(f"the data of {folder} has changed since it was begun: put it back, or choose another `run`")
    if changes:
        more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
        raise RunError(
            f"{folder} was made with another recipe: its {'; '.join(changes[:3])}{more}. "
            "Choose another `run`, or remove that folder"
        )


def begun(folder: Path) -> bool:
    """Tell whether a training has left something in its folder that another recipe must not take over."""
    return (folder / CHECKPOINT).exists() or (folder / DONE).exists()


def file_digest(path: Path) -> str:
    """Identify a file by its content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def read_record(path: Path) -> dict[str, Any]:
    """Read what a folder says of itself.

    Raises:
        RunError: it cannot be read.
    """
    content = read_json(path, mend=": remove its folder to begin anew")
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged: remove its folder to begin anew")
    return content
