"""The kinds of files that a trained network may be exported as, and what each is asked with.

To add one, write its functions and a line here; or do both in a package of your own (see `plugins`).
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

    suffix: of its files, with the dot.
    opener: `module:class`, called with a file's path; asked as `inference.results.ImagePredictor` is.
    converter: `module:function`, called with the path of a finished ONNX file and the path to write; none of ONNX itself.
    """

    suffix: str
    opener: str
    converter: str = ""


_OWN = {"onnx": Runtime(".onnx", "pixeldistill.inference.onnx:ExportedModel")}


def runtimes() -> Mapping[str, Runtime]:
    """Return all runtimes by name, those of installed packages too. Raises PluginError."""
    return with_installed("runtimes", _OWN, Runtime)


def runtime_named(name: str) -> Runtime:
    """Return a runtime by its name. Raises ExportError.

    >>> runtime_named("onnx").suffix
    '.onnx'
    """
    known = runtimes()
    if name not in known:
        raise ExportError(f"unknown runtime {name!r}, {nearest(name, known)}")
    return known[name]


def open_exported(path: Path) -> ImagePredictor | None:
    """Open an exported file by its suffix; None where no runtime has such files.

    Raises:
        ExportError: it is not there, or its runtime cannot read it.
    """
    known = (runtime for runtime in runtimes().values() if path.suffix.lower() == runtime.suffix)
    runtime = next(known, None)
    if runtime is None:
        return None
    opened: ImagePredictor = load(runtime.opener)(path)
    return opened


def convert_to(name: str, finished: Path) -> Path:
    """Convert a finished ONNX file for another runtime; return the new file's path, beside it.

    Raises:
        ExportError: an unknown runtime, or one that cannot take the file.
    """
    runtime = runtime_named(name)
    if not runtime.converter:
        return finished
    out = finished.with_suffix(runtime.suffix)
    load(runtime.converter)(finished, out)
    if not out.exists():
        raise ExportError(f"the runtime {name!r} has written no {out}: see its package")
    return out
