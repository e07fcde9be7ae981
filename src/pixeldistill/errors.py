"""Errors that a user can fix, as one tree. Every message is one line that says what to do."""

import difflib
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class PixelDistillError(Exception):
    """Base of all errors whose cause is the user's recipe, data, weights or machine, and not a defect of this program."""


class RecipeError(PixelDistillError):
    """A recipe without a valid meaning: unknown key, wrong type, impossible combination."""


class DataError(PixelDistillError):
    """Data that cannot be trained on: missing or broken files, labels that do not fit together."""


class NetworkError(PixelDistillError):
    """A network that cannot be used, or an image size that it cannot take."""


class ShapeError(PixelDistillError):
    """Two maps that a loss cannot compare."""


class WeightsError(PixelDistillError):
    """A weights file that cannot be read or does not fit the network."""


class RunError(PixelDistillError):
    """A run folder that is missing, in use, made by another recipe, or cannot be written."""


class ExportError(PixelDistillError):
    """A network that cannot be exported, or a file that is not ours or predicts something else than its network."""


class MissingExtraError(PixelDistillError):
    """A package of an extra that is not installed."""


class PluginError(PixelDistillError):
    """A part of another installed package that cannot be used."""


class Failure(NamedTuple):
    """Reason of a failed training, and its fix."""

    what: str
    fix: str = ""


class Diverged(RunError):
    """A loss that is infinite or NaN. It ends only its own training, not the trainings beside it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what}: {fix}")
        self.failure = Failure(what, fix)


def failure_of(error: RunError) -> Failure:
    """Return the reason of a failed training, and the fix if the error has one."""
    return error.failure if isinstance(error, Diverged) else Failure(str(error))


class GivenUp(RunError):
    """Trainings that diverged, or started from one that did. `results` are those of the other trainings, which are finished."""

    def __init__(self, message: str, results: Sequence[object]) -> None:
        super().__init__(message)
        self.results = results


class Interrupted(PixelDistillError):
    """A run that was interrupted and has saved its state."""


def nearest(name: str, valid: Iterable[str], limit: int = 3) -> str:
    """Return the valid names that resemble a wrong one, or all valid names if there are few.

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
