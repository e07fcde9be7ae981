"""Whole runs through the program, as a user starts, stops, kills, resumes and repeats them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pixeldistill.storage.files import locked
from tests.conftest import recipe_content


@pytest.fixture(scope="module")
def recipe(images, tmp_path_factory):
    """A student with dropout, so that its steps are random."""
    content = recipe_content(images, "run")
    content["student"] |= {"network": "test_vit", "options": {"drop_rate": 0.1}}
    content["schedule"] |= {"epochs": 20}
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def weights(run):
    from pixeldistill.networks.weights.load import read_state

    return read_state(Path(run) / "2-distilled/seed-0/last.safetensors")


def figures(run):
    return json.loads((Path(run) / "2-distilled/seed-0/done.json").read_text())


def assert_same(one, two):
    a, b = weights(one), weights(two)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)
    for which in ("last", "best"):
        assert figures(one)[which] == figures(two)[which]


def start(recipe, run, *more, cwd, prefix=()):
    command = [
        sys.executable,
        *prefix,
        "-m",
        "pixeldistill",
        "distill",
        str(recipe),
        "--set",
        f"run={run}",
        "--workers",
        "1",
    ]
    return subprocess.Popen([*command, *more], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_epoch(run, process, epochs=1, timeout=600):
    """Wait until the distilled student has finished some epochs."""
    folder = Path(run) / "2-distilled/seed-0"
    end = time.monotonic() + timeout
    while time.monotonic() < end and process.poll() is None:
        rows = (folder / "metrics.csv").read_text().splitlines() if (folder / "last.ckpt").is_file() else []
        if len(rows) > epochs:
            return
        time.sleep(0.02)
    raise AssertionError(f"no epoch was finished in time: {process.communicate()}")


@pytest.fixture(scope="module")
def whole(recipe):
    """The same recipe, run without an interruption, without a loader process."""
    run = recipe.parent / "whole"
    _, error = (process := start(recipe, run, cwd=recipe.parent)).communicate(timeout=900)
    assert process.returncode == 0, error
    return run


def test_ctrl_c_and_kill_leave_a_run_that_goes_on_exactly(recipe, program, tmp_path, whole):
    process = start(recipe, "parts", cwd=tmp_path)
    wait_for_epoch(tmp_path / "parts", process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 130, error
    assert "the same command goes on" in error
    assert len(error.strip().splitlines()) == 1
    process = start(recipe, "parts", cwd=tmp_path)
    wait_for_epoch(tmp_path / "parts", process, epochs=5)
    process.kill()
    process.communicate()
    done = program("distill", recipe, "--set", "run=parts", "--workers", "0")
    assert done.returncode == 0, done.stderr
    assert_same(whole, tmp_path / "parts")


def test_a_done_run_is_skipped_and_a_changed_recipe_says_what_changed(recipe, program, whole):
    again = program("distill", recipe, "--set", f"run={whole}")
    assert again.returncode == 0
    assert again.stdout.count("done before") == 2
    changed = program("distill", recipe, "--set", f"run={whole}", "--set", "schedule.lr=0.01")
    assert changed.returncode == 2
    assert "its schedule.lr was 0.05, is 0.01" in changed.stderr
    assert len(changed.stderr.strip().splitlines()) == 1


def test_a_run_folder_in_use(recipe, program, tmp_path):
    with locked(tmp_path / "busy", "taken"):
        refused = program("distill", recipe, "--set", "run=busy")
    assert refused.returncode == 2
    assert "in use by another run" in refused.stderr


def test_a_full_disk_ends_in_a_line_and_loses_nothing(recipe, program, tmp_path, whole):
    """The limit on a file's size stands in for the disk's: large enough for the weights, too small for the checkpoint."""
    process = start(recipe, "full", cwd=tmp_path)
    wait_for_epoch(tmp_path / "full", process)
    process.kill()
    process.communicate()
    checkpoint = tmp_path / "full/2-distilled/seed-0/last.ckpt"
    before = checkpoint.read_bytes()
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2}, {len(before) // 2}));"
        "from pixeldistill.cli.app import main; main()"
    )
    command = [sys.executable, "-c", code, "distill", str(recipe), "--set", "run=full", "--workers", "0"]
    full = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert full.returncode == 2, full.stderr
    assert "could not be written" in full.stderr
    assert "make room" in full.stderr
    assert len(full.stderr.strip().splitlines()) == 1
    assert checkpoint.read_bytes() == before
    assert not list(checkpoint.parent.glob(".*.ckpt.*")), "no half-written file is left"
    done = program("distill", recipe, "--set", "run=full", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert_same(whole, tmp_path / "full")


def torchrun(recipe, run, tmp_path, port, timeout=900):
    prefix = ["-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port", str(port)]
    command = [sys.executable, *prefix, "-m", "pixeldistill", "distill", str(recipe), "--set", f"run={tmp_path / run}"]
    command += ["--workers", "0", "--accelerator", "cpu"]  # the run's whole path is what `pkill` knows it by
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def test_two_processes_equal_one(content, write, program, tmp_path):
    """On a network without batch statistics and without dropout, whose terms are means over the samples.

    With a teacher cache and an image cache, which the two fill together.
    """
    content["teacher_cache"] = {"views": "exact"}
    content["data"]["image_cache"] = 36
    content["student"]["network"] = content["teacher"]["network"] = "test_vit"
    content["schedule"] |= {"epochs": 2}
    recipe = write(content)
    done = program("distill", recipe, "--set", "run=one", "--workers", "0", "--accelerator", "cpu")
    assert done.returncode == 0, done.stderr
    process = torchrun(recipe, "two", tmp_path, 29611)
    _, error = process.communicate(timeout=900)
    assert process.returncode == 0, error
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert max((one[k] - two[k]).abs().max().item() for k in one) < 1e-5
    files = [sorted((tmp_path / run / "teacher_cache").glob("*/logits/*/values.npy")) for run in ("one", "two")]
    teacher_caches = [np.stack([np.load(file) for file in found]) for found in files]
    assert np.abs(teacher_caches[0]).max(axis=2).all(), "every view was asked for"
    assert np.allclose(*teacher_caches, atol=1e-3)
    assert np.array_equal(*(np.load(tmp_path / run / "image_cache/pixels.npy") for run in ("one", "two")))
    a, b = figures(tmp_path / "one"), figures(tmp_path / "two")
    for split in ("val", "test"):
        assert a["last"][split]["nll"] == pytest.approx(b["last"][split]["nll"], rel=1e-4)
        assert a["last"][split]["per_class"] == pytest.approx(b["last"][split]["per_class"])


def test_two_processes_killed_go_on_exactly(content, write, tmp_path):
    """With dropout and batch norm: each process has its own randomness, and has it again."""
    content["student"] |= {"network": "test_resnet", "options": {"drop_rate": 0.1}}
    content["schedule"] |= {"epochs": 20}
    recipe = write(content)
    process = torchrun(recipe, "whole", tmp_path, 29612)
    assert process.wait(timeout=900) == 0, process.communicate()
    process = torchrun(recipe, "parts", tmp_path, 29613)
    wait_for_epoch(tmp_path / "parts", process)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=300)
    assert "the same command goes on" in error
    process = torchrun(recipe, "parts", tmp_path, 29615)
    wait_for_epoch(tmp_path / "parts", process, epochs=5)
    subprocess.run(["pkill", "-9", "-f", f"run={tmp_path}/parts"], check=False)
    process.communicate()
    assert not (tmp_path / "parts/2-distilled/seed-0/done.json").exists()
    process = torchrun(recipe, "parts", tmp_path, 29614)
    _, error = process.communicate(timeout=900)
    assert process.returncode == 0, error
    assert_same(tmp_path / "whole", tmp_path / "parts")
