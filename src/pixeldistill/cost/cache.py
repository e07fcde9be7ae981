"""Cache of measurements, outside any run: `~/.cache/pixeldistill`, or a folder that the user chooses."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pixeldistill.storage.files import write_json


def default_cache() -> Path:
    """Return the cache folder: the desktop standard's place for files that may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pixeldistill"


def remembered(folder: Path | None, key: dict[str, Any], measure: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Return the cached value of a key, or measure it now and cache it.

    Args:
        folder: folder of the cache. None caches nothing.
        key: everything that affects the value, as JSON.
        measure: returns the value, as JSON.
    """
    if folder is None:
        return measure()
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    path = folder / f"{name}.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] == json.loads(json.dumps(key)) and kept["digest"] == _digest(kept["value"]):
            return kept["value"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        kept = None  # missing or damaged: measured again
    value = measure()
    write_json(path, {"key": key, "value": value, "digest": _digest(value)})
    return value


def _digest(value: Any) -> str:  # noqa: ANN401
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]
