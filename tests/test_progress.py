"""What a user sees while something takes long."""

import io

from rich.console import Console

from pixeldistill.report.summary import to_rich
from pixeldistill.training import progress


def test_a_log_gets_a_line_now_and_then(monkeypatch):
    clock = iter([0, 30, 61, 90, 122])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    log = io.StringIO()
    with progress.counting(Console(file=log, width=100), "teacher's bank", "blocks") as tell:
        for done in range(1, 5):
            tell(done, 8)
    assert log.getvalue().splitlines() == [
        "teacher's bank: 2 of 8 blocks, 3 min left", "teacher's bank: 4 of 8 blocks, 2 min left",
    ]  # fmt: skip


def test_a_table_warns_of_two_seeds():
    metrics = {"val": {"top1": 0.5}, "test": {"top1": 0.5}}
    figures = {
        "network": "n",
        "side": 8,
        "parameters": 1,
        "macs": 1,
        "encoding": "raw",
        "bytes": 1,
        "last": metrics,
        "best": metrics,
    }
    captions = [str(to_rich({"alone": [figures] * seeds}, "run").caption) for seeds in (1, 2, 3)]
    assert ["two seeds leave very wide" in caption for caption in captions] == [False, True, False]
