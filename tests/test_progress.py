"""What a user sees while something takes long."""

import io

from rich.console import Console

from pixeldistill.report.summary import to_rich
from pixeldistill.training import progress


def test_a_log_gets_a_line_now_and_then(monkeypatch):
    clock = iter([0, 30, 61, 90, 122])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    log = io.StringIO()
    with progress.counting(Console(file=log, width=100), "teacher cache", "blocks") as tell:
        for done in range(1, 5):
            tell(done, 8)
    assert log.getvalue().splitlines() == [
        "teacher cache: 2 of 8 blocks, 3 min left", "teacher cache: 4 of 8 blocks, 2 min left",
    ]  # fmt: skip


def test_a_table_is_whole_on_a_narrow_terminal():
    from pixeldistill.display.tables import make_table, show_table

    rows = [["a-student-with-a-long-name-56", *(f"{60 + i}.{i} ± 12.3" for i in range(9))]]
    narrow = Console(file=io.StringIO(), width=80)
    show_table(narrow, make_table("figures", ["student", *(f"figure {i}" for i in range(9))], rows))
    said = narrow.file.getvalue()
    assert all(cell in said for cell in rows[0][1:]) and "…" not in said
    assert "a-student-with-a-long-na" in said and "me-56" in said, "words go on in the next line"


def test_a_table_warns_of_two_seeds():
    metrics = {"val": {"top1": 0.5}, "test": {"top1": 0.5}}
    figures = {
        "network": "n",
        "image_size": 8,
        "parameters": 1,
        "macs": 1,
        "encoding": "raw",
        "bytes": 1,
        "last": metrics,
        "best": metrics,
    }
    captions = [str(to_rich({"supervised": [figures] * seeds}, "run").caption) for seeds in (1, 2, 3)]
    assert ["two seeds leave very wide" in caption for caption in captions] == [False, True, False]
