"""Reading lists of images and their classes, from spreadsheets and scripts. No torch."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pixeldistill.data.folders import EXTENSIONS
from pixeldistill.display.text import in_words, shown
from pixeldistill.errors import DataError
from pixeldistill.storage.files import read_text

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "spaces"}
_SEVERAL = re.compile(r"[|;,+/&]")
_LOOKED_AT = 50  # lines to find the separator by

Row = list[str]


class Labelled(NamedTuple):
    """Paths with their classes, and notes about the list."""

    pairs: list[tuple[Path, str]]
    notes: list[str]


def read_list(path: Path, root: Path, column: int) -> Labelled:
    """Read `path, label` lines with any separator. A header is skipped.

    Args:
        path: path of the list.
        root: folder that the list's paths are relative to.
        column: number of the label's column, counted from 0.

    Raises:
        DataError: a line has no label, the list is empty, or an image has two labels.
    """
    lines = [(number, line) for number, line in enumerate(read_text(path, DataError, "data: ").splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    separator = _separator([line for _, line in lines[:_LOOKED_AT]], root, column)
    rows = list(zip((number for number, _ in lines), _rows(path, [line for _, line in lines], separator, column), strict=True))
    notes = [f"{path}: columns are separated by {_SEPARATORS[separator]}"] if separator != "," else []
    if _has_header([row for _, row in rows[:2]], root):
        notes.append(f"{path}: line {rows[0][0]} taken for a header ({shown(', '.join(rows[0][1]))})")
        rows = rows[1:]
    pairs: dict[Path, str] = {}
    for number, row in rows:
        if len(row) <= column or not row[column]:
            raise DataError(
                f"data: {path}, line {number}: expected `path, label` with the label in column {column} (counted from 0), "
                f"found {shown(', '.join(row))}"
            )
        image = root / row[0]
        if pairs.setdefault(image, row[column]) != row[column]:
            raise DataError(
                f"data: {path}, line {number}: {image} has two labels, {pairs[image]!r} and {row[column]!r}: here an image has "
                "one class; of data with several labels an image keep one, or make a class of each set of labels"
            )
    if not pairs:
        raise DataError(f"data: {path} lists no image")
    _check_columns(path, [row for _, row in rows], root)
    notes += _several(path, set(pairs.values()))
    if copies := len(rows) - len(pairs):
        notes.append(f"{path}: {in_words(copies, 'line')} that say the same again left out")
    return Labelled(list(pairs.items()), notes)


def _check_columns(path: Path, rows: Sequence[Row], root: Path) -> None:
    """Raise DataError if the file names are not in the first column."""
    looked_at = [row for row in rows[:_LOOKED_AT] if row]
    if any(_is_file(root / row[0]) for row in looked_at):
        return
    for column in range(1, max(map(len, looked_at), default=0)):
        if all(len(row) > column and _is_file(root / row[column]) for row in looked_at):
            raise DataError(f"data: {path}: its files stand in column {column} (counted from 0): put that column first")


def _several(path: Path, labels: set[str]) -> list[str]:
    """Warn of a label whose parts are labels of other lines, because it may be several labels."""
    for label in sorted(labels):
        parts = [part.strip() for part in _SEVERAL.split(label)]
        if len(parts) > 1 and all(part in labels for part in parts):
            return [
                f"warning: {path} has the label {shown(label)}, whose parts are labels too: here an image has one class, and it "
                "is taken for a class of its own"
            ]
    return []


def _rows(path: Path, lines: Sequence[str], separator: str, column: int) -> list[Row]:
    if separator == " ":
        return [_spaced(line, column) for line in lines]
    try:
        return [
            [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])] for line in lines
        ]
    except csv.Error as error:
        raise DataError(
            f"data: {path} is no list of `path, label` lines ({error}): write one image and its label per line"
        ) from error


def _spaced(line: str, column: int) -> Row:
    """Split a line at spaces. If the label comes last, the path may contain spaces."""
    return line.rsplit(maxsplit=1) if column == 1 else line.split()


def _separator(lines: Sequence[str], root: Path, column: int) -> str:
    """Find the separator with which most lines name a file and have a label. If none does, return the comma."""

    def fitting(separator: str) -> int:
        try:
            rows = _rows(root, lines, separator, column)
        except DataError:
            return 0
        complete = [row for row in rows if len(row) > column and row[column]]
        return sum(_is_file(root / row[0]) for row in complete) * len(lines) + len(complete)

    return max(_SEPARATORS, key=lambda separator: (fitting(separator), separator == ","))


def _has_header(rows: Sequence[Row], root: Path) -> bool:
    """Return whether the first row is a header: its first cell is no image file, but that of the next row is."""

    def names_file(row: Row) -> bool:
        return bool(row) and (Path(row[0]).suffix.lower() in EXTENSIONS or _is_file(root / row[0]))

    return len(rows) == 2 and not names_file(rows[0]) and names_file(rows[1])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a null character
        return False
