"""The process's settings."""

import subprocess
import sys

CODE = "import os, pixeldistill.process as p; p.tune_process(); print(os.environ['OMP_WAIT_POLICY'])"


def test_a_setting_of_the_users_stays(monkeypatch):
    for given, expected in ((None, "passive"), ("active", "active")):
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        else:
            monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        assert subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout.strip() == expected
