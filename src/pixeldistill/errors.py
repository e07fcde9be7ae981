"""The errors that a user can mend, as one tree: every message is one line that says what to do."""

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class PixelDistillError(Exception):
    """Base of all errors that come from the user's recipe, data, weights or machine rather than from a defect here."""


class RecipeError(PixelDistillError):
    """A recipe that cannot mean anything: unknown key, wrong type, impossible combination."""


class DataError(PixelDistillError):
    """Data that cannot be trained on: missing or broken files, labels that do not fit together."""


class NetworkError(PixelDistillError):
    """A network that cannot be served, or an image size that it cannot take."""


class ShapeError(PixelDistillError):
    """Two maps that a loss cannot compare."""


class WeightsError(PixelDistillError):
    """A weights file that cannot be read or does not fit the network."""


class RunError(PixelDistillError):
    """A run folder that is missing, in use, made by another recipe, or cannot be written."""


class ExportError(PixelDistillError):
    """A network that cannot be exported, or a file that is none of ours or says something else than its network."""


class MissingExtraError(PixelDistillError):
    """A package that an extra installs, and that is not there."""


class PluginError(PixelDistillError):
    """A part that another installed package adds, and that cannot be used."""


class Failure(NamedTuple):
    """Why a training failed, and what to do."""

    what: str
    fix: str = ""


class Diverged(RunError):
    """A loss that is no longer finite ends its own training, not those beside it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}: {fix}")
        self.failure = Failure(what, fix)


def failure_of(error: RunError) -> Failure:
    """Return why a training failed, and what to do where the error says so."""
    return error.failure if isinstance(error, Diverged) else Failure(str(error))


class GivenUp(RunError):
    """Trainings that diverged, or started from one that did; `results` are those of the others, which are done."""

    def __init__(self, message: str, results: Sequence[object]) -> None:
        super().__init__(message)
        self.results = results


class Interrupted(PixelDistillError):
    """The run was asked to stop and has saved itself."""


def nearest(name: str, valid: Iterable[str], limit: int = 3) -> str:
    """Return which of the valid names resemble a wrong one, or list them all when they are few.

    >>> nearest("isdr", ["pkd", "isrd"])
    'did you mean isrd?'
    >>> nearest("zzz", ["pkd", "isrd"])
    'valid: isrd, pkd'
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=limit, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    shown = ", ".join(names[:12])
    return f"valid: {shown}" + (f", … ({len(names)} in all)" if len(names) > 12 else "")
