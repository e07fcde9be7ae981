"""Run folders: `<run>/<n>-<stage>/seed-<s>/`, what made them, and that only one process at a time writes them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pixeldistill.errors import RunError
from pixeldistill.files import differences, write_json

CHECKPOINT = "last.ckpt"
RECORD = "stage.json"
DONE = "done.json"


def stage_folder(run: Path, number: int, name: str, seed: int) -> Path:
    """Name the folder of a stage's training with a seed."""
    return run / f"{number}-{name}" / f"seed-{seed}"


def renumber(run: Path, names: list[str]) -> None:
    """Give the stages' folders the numbers that the recipe gives them now: a control that was added moves the others."""
    for number, name in enumerate(names, start=1):
        for folder in run.glob(f"*-{name}"):
            wanted = run / f"{number}-{name}"
            if folder.name.split("-", 1)[0].isdigit() and folder.name.split("-", 1)[1] == name and not wanted.exists():
                folder.rename(wanted)


def claim(folder: Path, record: dict[str, Any]) -> dict[str, Any] | None:
    """Begin or go on with a training: its result if it is done, or None.

    Where nothing has been trained yet, another recipe may take the folder.

    Raises:
        RunError: the folder was made by another recipe; says what changed.
    """
    record = json.loads(json.dumps(record))
    path = folder / RECORD
    if path.is_file():
        before = read_record(path)
        other = list(differences(before, record))
        if other and not begun(folder):
            write_json(path, record)
        elif other:
            if before | {"data_digest": record["data_digest"]} == record:
                raise RunError(f"the data of {folder} has changed since it was begun: put it back, or choose another `run`")
            changes = [change.removeprefix("stage.") for change in other]
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            raise RunError(
                f"{folder} was made with another recipe: its {'; '.join(changes[:3])}{more}. "
                "Choose another `run`, or remove that folder"
            )
    else:
        write_json(path, record)
    return read_record(folder / DONE) if (folder / DONE).is_file() else None


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
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}): remove its folder to begin anew") from error
    return content if isinstance(content, dict) else {}
