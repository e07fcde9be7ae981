"""Whatever happens in a loader's worker, the program goes on or ends in a line, within seconds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from pixeldistill.data import loading
from pixeldistill.data.loading import BatchDataset, _packed, _Sent, _unpacked, copied, load, shared_memory_notes
from pixeldistill.errors import DataError, RunError
from tests.conftest import running


class Numbers(BatchDataset):
    """Batches of one tensor each; `odd` is called with the number that is to be odd."""

    def __init__(self, odd=None):
        self.odd = odd

    def __getitem__(self, keys):
        for key in keys:
            if self.odd and key == 3:
                self.odd()
        return torch.tensor(keys), (torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),)

    def files(self, keys):
        return [Path(f"{key}.png") for key in keys]


def unforeseen():
    raise KeyError("a tag\nof another kind")


def die():
    os.kill(os.getpid(), signal.SIGKILL)


BATCHES = [[i, 10 + i] for i in range(6)]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_come_in_order(workers):
    found = list(load(Numbers(), BATCHES, workers))
    assert [keys.tolist() for keys, _ in found] == BATCHES
    assert all(image.is_contiguous(memory_format=torch.channels_last) for _, (image,) in found)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_error_that_nobody_foresaw_names_the_file(workers):
    start = time.monotonic()
    with pytest.raises(DataError, match=r"3.png or one of 1 others could not be prepared: KeyError: .*a tag"):
        list(load(Numbers(unforeseen), BATCHES, workers))
    assert time.monotonic() - start < 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the worker is forked")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_is_killed_ends_the_run_in_a_line(workers):
    start = time.monotonic()
    with pytest.raises(RunError, match="a loader process was killed, most likely as memory ran out"):
        list(load(Numbers(die), BATCHES, workers))
    assert time.monotonic() - start < 20


LEFT = """
import sys
sys.path.insert(0, {root!r})
from tests.data.test_loading import BATCHES, Numbers
from pixeldistill.data.loading import load
batches = load(Numbers(), BATCHES * 50, 2)
next(batches)
{end}
"""


# A shell's background job ignores SIGINT, and so would what it starts.
CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); signal.raise_signal(signal.SIGINT)"


@pytest.mark.parametrize("end", ["raise KeyError('a defect')", CTRL_C, "pass"])
def test_whatever_ends_the_program_its_workers_end_too(end):
    """They do not hear SIGTERM, and whoever waited for them would wait for ever."""
    code = LEFT.format(root=str(Path(__file__).parent.parent.parent), end=end)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode == 0) == (end == "pass"), ended.stderr


ORPHAN = """
import multiprocessing, os, time
from pixeldistill.data.loading import _init_worker

def late():
    time.sleep(1)
    _init_worker(0)
    time.sleep(60)

process = multiprocessing.get_context("fork").Process(target=late)
process.start()
print(process.pid, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_a_worker_whose_parent_was_killed_before_it_began_ends():
    """PyTorch's workers look who their parent is after that, and would take its heir for it."""
    parent = subprocess.run([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True, check=True, timeout=60, bufsize=0)
    worker = Path("/proc") / parent.stdout.strip()
    end = time.monotonic() + 10
    while running(worker) and time.monotonic() < end:
        time.sleep(0.05)
    assert not running(worker)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_without_shared_memory_batches_go_through_pipes(monkeypatch, order):
    """Docker's default is 64 MB of it; what comes is the same, whatever its order in memory."""

    def full(_):
        raise RuntimeError("unable to allocate shared memory(shm)")

    image = torch.rand(2, 3, 4, 5).to(memory_format=order)
    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    sent = _packed(image)
    assert isinstance(sent, _Sent)
    back = _unpacked(sent)
    assert torch.equal(back, image) and back.stride() == image.stride()
    found = list(load(Numbers(), BATCHES, 1))
    assert [keys.tolist() for keys, _ in found] == BATCHES


def test_what_is_kept_leaves_shared_memory():
    (batch,) = load(Numbers(), BATCHES[:1], 1)
    assert batch[0].is_shared()
    assert not copied(batch)[0].is_shared() and torch.equal(copied(batch)[1][0], batch[1][0])


def test_little_shared_memory_is_told(monkeypatch):
    from collections import namedtuple

    monkeypatch.setattr(loading.Path, "is_dir", lambda _: True)
    monkeypatch.setattr(loading.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(64e6))
    assert shared_memory_notes(60_000_000) == []
    (note,) = shared_memory_notes(100_000_000)
    assert "64.0 MB left" in note and "--shm-size" in note
