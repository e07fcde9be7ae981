"""Runtimes: the kinds of files that a trained network can be exported to, and how each is run.

To add one, write its functions and a line here. Or do both in a package of your own (see `plugins`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pixeldistill.errors import ExportError, nearest
from pixeldistill.inference.results import ImagePredictor
from pixeldistill.plugins import load, with_installed


@dataclass(frozen=True)
class Runtime:
    """A kind of exported file.

    suffix: suffix of its files, with the dot.
    opener: `module:class`, called with a file's path. Its objects predict like `inference.results.ImagePredictor`.
    converter: `module:function`, called with the path of a finished ONNX file and the path to write. ONNX itself has none.
    """

    suffix: str
    opener: str
    converter: str = ""


_OWN = {"onnx": Runtime(".onnx", "pixeldistill.inference.onnx:ExportedModel")}


def runtimes() -> Mapping[str, Runtime]:
    """Return all runtimes by name, including those of installed packages. Raises PluginError."""
    return with_installed("runtimes", _OWN, Runtime)


def runtime_named(name: str) -> Runtime:
    """Return a runtime by its name. Raises ExportError if it is unknown.

    >>> runtime_named("onnx").suffix
    '.onnx'
    """
    known = runtimes()
    if name not in known:
        raise ExportError(f"unknown runtime {name!r}, {nearest(name, known)}")
    return known[name]


def open_exported(path: Path) -> ImagePredictor | None:
    """Open an exported file by its suffix. Return None if no runtime has such files.

    Raises:
        ExportError: the file does not exist, or its runtime cannot read it.
    """
    known = (runtime for runtime in runtimes().values() if path.suffix.lower() == runtime.suffix)
    runtime = next(known, None)
    if runtime is None:
        return None
    opened: ImagePredictor = load(runtime.opener)(path)
    return opened


def convert_to(name: str, finished: Path) -> Path:
    """Convert a finished ONNX file for another runtime. Return the path of the new file, which lies beside it.

    Raises:
        ExportError: the runtime is unknown, or cannot convert the file.
    """
    runtime = runtime_named(name)
    if not runtime.converter:
        return finished
    out = finished.with_suffix(runtime.suffix)
    load(runtime.converter)(finished, out)
    if not out.exists():
        raise ExportError(f"the runtime {name!r} has written no {out}: see its package")
    return out
