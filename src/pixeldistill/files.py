"""Writing so that a crash at any moment leaves the old file or the new one, and two programs do not write one folder."""

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixeldistill.errors import RunError


def write_file(path: Path, content: bytes | str) -> None:
    """Replace a file as a whole.

    Raises:
        RunError: the disk is full or the folder cannot be written; what stood there before still does.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        mend = "make room and give the same command again" if full else "choose a folder that can be written"
        raise RunError(f"{path} could not be written ({error.strerror}): what was saved before is intact; {mend}") from error


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401
    """Replace a JSON file as a whole."""
    write_file(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


@contextmanager
def locked(folder: Path, taken: str | None, name: str = ".lock") -> Iterator[None]:
    """Hold a folder for this process; the lock goes with the process, however it ends.

    Args:
        folder: made, if need be.
        taken: what to say when another process holds it; None waits for that one.
        name: of the file in it that is locked.

    Raises:
        RunError: another process holds it, or it cannot be made.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=-1 if taken is None else 0)
    except Timeout as error:
        raise RunError(str(taken)) from error
    except OSError as error:
        raise RunError(f"folder {folder} cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        lock.release()


def differences(before: Any, after: Any, place: str = "") -> Iterator[str]:  # noqa: ANN401
    """Name every setting that differs between two contents of a JSON file.

    >>> list(differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2}))
    ['a.b was 1, is 3']
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from differences(before.get(key), after.get(key), f"{place}.{key}" if place else str(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, (a, b) in enumerate(zip(before, after, strict=True)):
            yield from differences(a, b, f"{place}.{i}")
    elif before != after:
        yield f"{place} was {json.dumps(before)}, is {json.dumps(after)}"
