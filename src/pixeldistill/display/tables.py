"""Lines and tables for a terminal. Printed text cannot control the terminal, and figures are never cut at any width.

Names come from other people's files. Characters that control a terminal (control characters, escape sequences, newlines) are
written as escapes.
"""

import codecs
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pixeldistill.display.text import printable

READABLE = 24  # minimum width of a text column on a narrow terminal; longer text wraps
WIDEST = 10_000
_PLAIN = {"→": "->", "↔": "<->", "·": "-", "–": "-", "×": "x", "…": "...", "−": "-", "²": "2", "≤": "<=", "≥": ">=", "±": "+-"}


@dataclass(frozen=True)
class TableData:
    """A table as data: its title, its columns' names, and one cell for each column in every row."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return the table as Markdown, with the title in bold above it.

        >>> print(TableData("", ["a", "b"], [["1", "2"]]).markdown(), end="")
        | a | b |
        |---|---|
        | 1 | 2 |
        """
        head, *rest = (f"| {' | '.join(cells)} |" for cells in (self.columns, *self.rows))
        table = [head, "|" + "---|" * len(self.columns), *rest]
        return "\n".join([*([f"**{self.title}**\n"] if self.title else []), *table]) + "\n"


@dataclass(frozen=True)
class Tables:
    """Tables and remarks that a command has found."""

    tables: Sequence[TableData]
    remarks: Sequence[str] = ()

    def markdown(self) -> str:
        """Return the tables, then the remarks as a list, as Markdown."""
        remarks = "\n".join(f"- {remark}" for remark in self.remarks)
        return "\n".join([*(sheet.markdown() for sheet in self.tables), *([f"{remarks}\n"] if remarks else [])])


def plain_output() -> None:
    """Replace arrows and similar characters if the output's encoding lacks them, instead of raising an error."""
    codecs.register_error("pixeldistill", _in_plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="pixeldistill")


def _in_plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    odd = error.object[error.start : error.end]
    return "".join(_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in odd), error.end


def write_line(console: Console, text: str) -> None:
    """Print a line without styles, with escapes for unprintable characters."""
    console.print(printable(text), highlight=False, markup=False, soft_wrap=True)


def make_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", *, close: bool = False
) -> Table:  # fmt: skip
    """Make a table: figures to the right and never cut, words to the left.

    Args:
        title: title above it, or "".
        columns: names of the columns.
        rows: one cell for each column.
        caption: text below it, or "".
        close: leave out the lines between columns, so that more of them fit.
    """
    title, caption, columns = printable(title), printable(caption), [printable(column) for column in columns]
    rows = [[printable(cell) for cell in row] for row in rows]
    table = Table(title=Text(title) if title else None, caption=Text(caption) if caption else None, padding=(0, 0))
    if close:
        table.box, table.padding, table.pad_edge, table.title_justify = SIMPLE_HEAD, (0, 0, 0, 1), False, "left"
    for place, column in enumerate(columns):
        cells = [row[place] for row in rows]
        figures = all(cell[:1].isdigit() or cell[:1] in ("+", "-", "–") for cell in cells)
        widest = max((Text(cell).cell_len for cell in cells), default=0)
        heading = max((len(word) for word in column.split()), default=0)
        least = max(heading, widest if figures else min(widest, READABLE))
        table.add_column(Text(column), overflow="fold", min_width=least, justify="right" if figures else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def show_table(console: Console, table: Table) -> None:
    """Print a table at full width. On a narrower terminal, or without one, its lines are longer than the terminal."""
    needed = console.measure(table, options=console.options.update(width=WIDEST)).minimum
    console.print(table, width=max(console.width, needed), crop=False)
