"""Records of run folders: `<run>/<n>-<stage>/seed-<s>/`, and the recipe that made them."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pixeldistill.errors import RunError
from pixeldistill.storage.files import differences, read_json, write_json
from pixeldistill.storage.records import read_done
from pixeldistill.storage.run_folder import CHECKPOINT, DONE, RECORD


def claim(folder: Path, record: dict[str, Any]) -> dict[str, Any] | None:
    """Begin or resume a training. Return its result if it is finished, otherwise None.

    If nothing has been trained yet, another recipe may take the folder.

    Raises:
        RunError: another recipe made the folder. The message names the changes.
    """
    check_record(folder, record)
    if not begun(folder):
        write_json(folder / RECORD, record)
    return read_done(folder / DONE) if (folder / DONE).is_file() else None


def check_record(folder: Path, record: dict[str, Any]) -> None:
    """Raise RunError if another recipe has begun the training."""
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
    """Return whether a training has left results in its folder that another recipe must not take over."""
    return (folder / CHECKPOINT).exists() or (folder / DONE).exists()


def file_digest(path: Path) -> str:
    """Return a digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def read_record(path: Path) -> dict[str, Any]:
    """Read a folder's record.

    Raises:
        RunError: it cannot be read.
    """
    content = read_json(path, mend=": remove its folder to begin anew")
    if not isinstance(content, dict):
        raise RunError(f"{path} is damaged: remove its folder to begin anew")
    return content
