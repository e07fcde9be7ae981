"""The scripts that try damaged inputs and kills, for a little while: what they promise in full is in `docs/benchmarks`."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize(
    "call", [["fuzz.py", "--inputs", "500", "--seed", "7"], ["kill.py", "--kills", "6", "--only", "cached,boxes", "--seed", "7"]],
    ids=lambda call: call[0],
)  # fmt: skip
def test_nothing_fails(tmp_path, call):
    command = [sys.executable, str(BENCHMARKS / call[0]), *call[1:], "--keep", str(tmp_path / "kept")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]
