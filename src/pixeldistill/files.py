"""Writing so that a crash at any moment leaves the old file or the new one, never half of one."""

import json
import os
import tempfile
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
        raise RunError(
            f"{path} could not be written ({error.strerror}): what was saved before is intact; "
            "make room and give the same command again"
        ) from error


def write_json(path: Path, content: Any) -> None:  # noqa: ANN401
    """Replace a JSON file as a whole."""
    write_file(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
