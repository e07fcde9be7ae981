"""Run folders: `<run>/<n>-<stage>/seed-<s>/`, what made them, and that only one process at a time writes them."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pixeldistill.errors import RunError
from pixeldistill.files import write_json

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


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold a run folder for this process; the lock goes with the process, however it ends.

    Raises:
        RunError: another process holds it, or it cannot be made.
    """
    lock = FileLock(run / ".lock")
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(f"{run} is in use by another run: wait for it, or choose another `run`") from error
    except OSError as error:
        raise RunError(f"run folder {run} cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def claim(folder: Path, record: dict[str, Any]) -> dict[str, Any] | None:
    """Begin or go on with a training: its result if it is done, or None.

    Raises:
        RunError: the folder was made by another recipe; says what changed.
    """
    record = json.loads(json.dumps(record))
    path = folder / RECORD
    if path.is_file():
        before = _read(path)
        if before != record:
            if before | {"data_digest": record["data_digest"]} == record:
                raise RunError(f"the data of {folder} has changed since it was begun: put it back, or choose another `run`")
            changes = [change.removeprefix("stage.") for change in _differences(before, record, "")]
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            raise RunError(
                f"{folder} was made with another recipe: its {'; '.join(changes[:3])}{more}. "
                "Choose another `run`, or remove that folder"
            )
    else:
        write_json(path, record)
    return _read(folder / DONE) if (folder / DONE).is_file() else None


def file_digest(path: Path) -> str:
    """Identify a file by its content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}): remove its folder to begin anew") from error
    return content if isinstance(content, dict) else {}


def _differences(before: Any, after: Any, place: str) -> Iterator[str]:  # noqa: ANN401
    """Name every setting that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            yield from _differences(before.get(key), after.get(key), f"{place}.{key}" if place else str(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, (a, b) in enumerate(zip(before, after, strict=True)):
            yield from _differences(a, b, f"{place}.{i}")
    elif before != after:
        yield f"{place} was {json.dumps(before)}, is {json.dumps(after)}"
