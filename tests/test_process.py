"""The process's settings."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import running

CODE = "import os, pixeldistill.process as p; p.tune_process(); print(os.environ['OMP_WAIT_POLICY'])"


def test_a_setting_of_the_users_stays(monkeypatch):
    for given, expected in ((None, "passive"), ("active", "active")):
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        else:
            monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        assert subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout.strip() == expected


WORKER = """
import pixeldistill.process as process
process.tune_process()
import torch
from pixeldistill.data.loading import load

def fill():
    return [torch.ones(5_000_000) for _ in range(20)]  # 400 MB in pieces that are kept

class Private:
    def __getitem__(self, _):
        import time
        time.sleep(0.3)  # meanwhile the main process writes to what was shared
        return [int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Private_Dirty")][0]

fill()
for kilobytes in load(Private(), range(4), 1):
    fill()
print(kilobytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's account of a process's memory")
def test_a_worker_does_not_hold_what_the_main_process_had_kept():
    said = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, text=True, check=True).stdout
    assert int(said) < 100_000


PARENT = """
import subprocess, sys
code = "import pixeldistill.process as p, time; p.tune_process(); print('set', flush=True); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
input()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_rank_ends_with_its_launcher():
    environment = os.environ | {"TORCHELASTIC_RUN_ID": "none"}  # as torchrun sets it
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as parent:
        rank = Path("/proc") / parent.stdout.readline().decode().strip()
        assert running(rank)
        parent.kill()
    end = time.monotonic() + 10
    while running(rank) and time.monotonic() < end:
        time.sleep(0.05)
    assert not running(rank)
