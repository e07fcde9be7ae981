"""Progress display during training: a bar with the remaining time on a terminal, one line an epoch in a log."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from pixeldistill.display.metric_names import metric_title
from pixeldistill.display.tables import write_line
from pixeldistill.display.text import in_time, printable

LINE_SECONDS = 60.0  # between two lines of a log


class Progress:
    """Progress of one training, as a context manager.

    Args:
        console: where to write. All processes except the first have a quiet one.
        title: name of the training, with all students of the pass.
    """

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.title = console, title
        self._bar = Bar(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn("steps ·"),
            TimeRemainingColumn(compact=True), TextColumn("left · loss {task.fields[loss]}"),
            console=console, transient=True, disable=not console.is_terminal or console.quiet,
        )  # fmt: skip
        self._done = self._first = self._total = 0
        self._began = self._shown = time.monotonic()

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def start(self, total: int, done: int) -> None:
        """Set the number of all steps, and of the steps that a former session has done."""
        self._total, self._done, self._first = total, done, done
        self._began = self._shown = time.monotonic()
        self._task = self._bar.add_task(printable(self.title), total=total, completed=done, loss="…")

    def step(self, loss: Callable[[], float]) -> None:
        """Count a step. The loss is read at most once a second, because reading it waits for the device."""
        self._done += 1
        now = time.monotonic()
        if now - self._shown >= 1:
            self._shown = now
            self._bar.update(self._task, completed=self._done, loss=f"{loss():.3f}")

    def epoch(self, name: str, row: Mapping[str, float], epochs: int) -> None:
        """Write the line of a student's epoch, with the remaining time."""
        shares = [f"{name.removeprefix('share_')} {v:.0%}" for name, v in row.items() if name.startswith("share_")]
        terms = f" ({', '.join(shares)})" if len(shares) > 1 else ""
        spent = time.monotonic() - self._began
        left = spent / max(1, self._done - self._first) * (self._total - self._done)
        key = next((k for k in row if k.startswith("val_")), None)
        validated = f"val {metric_title(key.removeprefix('val_'))} {row[key]:.1%}" if key else ""
        self.note(f"{name}: epoch {row['epoch']:.0f}/{epochs} · loss {row['loss']:.3f}{terms} · {validated} · "
                  f"{row['seconds']:.0f} s, {in_time(left)} left")  # fmt: skip

    def note(self, text: str) -> None:
        """Write a line above the bar."""
        write_line(self.console, text)


@contextmanager
def counting(console: Console, title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar for other work than training, or a line a minute in a log. Yield a function that takes (done, total)."""
    bar = Bar(
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TextColumn(f"{unit} ·"),
        TimeRemainingColumn(compact=True), TextColumn("left"),
        console=console, transient=True, disable=not console.is_terminal or console.quiet,
    )  # fmt: skip
    with bar:
        task, began = bar.add_task(title, total=None), time.monotonic()
        shown = began

        def tell(done: int, total: int) -> None:
            nonlocal shown
            bar.update(task, completed=done, total=total)
            now = time.monotonic()
            if not console.is_terminal and now - shown >= LINE_SECONDS:
                shown, left = now, (now - began) / done * (total - done)
                write_line(console, f"{title}: {done} of {total} {unit}, {in_time(left)} left")

        yield tell
