"""Whatever the user gives, the answer is one short line within seconds, and exit code 2."""

import errno
import os
import socket
import time

import pytest
import yaml

from pixeldistill.cli import app as cli
from pixeldistill.failures import TRACEBACK, in_one_line
from tests.conftest import make_images, recipe_content
from tests.test_cli import command, error_line

LONG = 1000  # characters of an answer


def recipe_text(images, tmp_path, **changes):
    return yaml.safe_dump(recipe_content(images, tmp_path / "run") | changes)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EIO, "Input/output error", "a/b"), "the system says Input/output error (a/b)"),
        (MemoryError(), "memory ran out"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"), "memory ran out"),
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (ValueError("Exceeds the limit (4300 digits)"), "a value cannot be used: Exceeds the limit"),
        (OverflowError("int too big"), "a value cannot be used: int too big"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "a loader process was killed"),
    ],
)
def test_what_nobody_foresaw_is_a_line(capsys, monkeypatch, error, words):
    def fail():
        raise error

    assert cli.run_command(fail) == 2
    assert words in error_line(capsys)
    monkeypatch.setenv(TRACEBACK, "1")
    with pytest.raises(type(error)):
        cli.run_command(fail)


def test_a_defect_is_no_users_mistake():
    def fail():
        raise KeyError("a")

    with pytest.raises(KeyError):
        cli.run_command(fail)


def test_a_lost_process_is_told_by_the_others(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    told = in_one_line(RuntimeError("[../gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:9"))
    assert told is not None and "another process of this job has ended" in str(told)
    assert "another process" not in str(in_one_line(RuntimeError("shape mismatch")))
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert "another process" not in str(in_one_line(RuntimeError("Connection closed by peer")))


def test_what_pytorch_raises_is_a_line_and_a_defect_is_none():
    told = str(in_one_line(NotImplementedError("isfinite is not implemented\nfor so many reasons")))
    assert told.startswith("something could not be computed: isfinite is not implemented (with") and "\n" not in told
    assert in_one_line(KeyError("a defect")) is None


BOMB = "\n".join([f"a0: &a0 [{'x, ' * 9}x]", *(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}*a{i - 1}]" for i in range(1, 10))])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "stands for more than"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested more than"),
        ("a: " + "{b: " * 5000 + "}" * 5000, "nested more than"),
        ("seeds: [" + "9" * 5000 + "]", "thousands of digits"),
        ("data: 2024-13-45", "is not YAML"),
        ("a: &a [*a]", "holds itself"),
        ("\n".join(f"k{i}: 1" for i in range(20_000)), "unknown key"),
        ("? [a]\n: b", "is not YAML"),
        ("a: !!python/object/apply:os.system [echo]", "is not YAML"),
        ("\x00", "is not YAML"),
        ("", "is empty"),
        ("- a", "must be a mapping"),
    ],
)
def test_a_recipe_that_is_none(tmp_path, capsys, text, words):
    (tmp_path / "recipe.yaml").write_text(text)
    start = time.monotonic()
    assert command("show", tmp_path / "recipe.yaml") == 2
    told = error_line(capsys)
    assert words in told and len(told) < LONG + len(str(tmp_path))
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"student": {"network": "test_resnet", "image_size": 10**7, "weights": "none"}}, "student.image_size"),
        ({"seeds": [2**70]}, "seeds.0"),
        ({"seeds": 2**70}, "seeds"),
        ({"teacher_cache": {"views": 10**9}}, "teacher_cache.views"),
        ({"schedule": {"epochs": 10**12, "optimizer": "sgd", "lr": 0.1}}, "schedule.epochs"),
        ({"schedule": {"epochs": 1, "optimizer": "sgd", "lr": float("nan")}}, "schedule.lr"),
        ({"schedule": {"epochs": 1, "optimizer": "sgd", "lr": 0.1, "batch_size": 10**9}}, "schedule.batch_size"),
        ({"run": "a\0b"}, "run"),
        ({"run": "x" * 5000}, "run"),
        ({"data": {"format": "folder", "root": "x" * 5000}}, "data.root"),
        ({"data": {"format": "folder", "root": "a\0b"}}, "data.root"),
        ({"k" * 5000: 1}, "unknown key"),
        ({"student": {"network": "n" * 5000, "image_size": 32}}, "unknown network"),
        ({"student": {"network": "test_resnet", "image_size": 32, "weights": "w" * 5000}}, "weights"),
    ],
)
def test_values_beyond_all_measure(images, tmp_path, capsys, changes, words):
    (tmp_path / "recipe.yaml").write_text(recipe_text(images, tmp_path, **changes))
    start = time.monotonic()
    assert command("distill", tmp_path / "recipe.yaml", "--workers", "0") == 2
    told = error_line(capsys)
    assert words in told, told
    assert len(told) < LONG + len(str(tmp_path))
    assert time.monotonic() - start < 20


def test_a_whole_disk_is_no_folder_of_images(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(recipe_text("/", tmp_path, student=None))
    assert command("show", tmp_path / "recipe.yaml") == 2
    assert "whole disk" in error_line(capsys)


def test_settings_that_are_written_once(images, tmp_path, capsys):
    """Merge keys, and anchors at a place of their own."""
    text = recipe_text(images, tmp_path, schedule={"epochs": 1})
    text = "plan: &plan {lr: 0.05, batch_size: 8}\n" + text.replace("schedule:\n  epochs: 1", "schedule: {<<: *plan, epochs: 1}")
    (tmp_path / "recipe.yaml").write_text(text)
    assert command("show", tmp_path / "recipe.yaml") == 0
    assert "1 epochs of sgd, lr 0.05" in capsys.readouterr().out
    (tmp_path / "recipe.yaml").write_text(text.replace("<<: *plan", "lr: 0.05"))
    assert command("show", tmp_path / "recipe.yaml") == 2
    assert "plan: unknown key" in error_line(capsys), "an anchor that nobody mentions is a mistake"


@pytest.mark.skipif(os.name == "nt", reason="of POSIX file systems")
@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "folder", "huge", "loop", "unreadable name"])
def test_what_is_no_image_file_is_a_line(tmp_path, capsys, kind, monkeypatch):
    """Reading a pipe or a device would never end."""
    root = make_images(tmp_path / "images", {"a": 12, "b": 12})
    odd = root / "a" / "odd.png"
    monkeypatch.chdir(tmp_path)
    if kind == "fifo":
        os.mkfifo(odd)
    elif kind == "socket":
        monkeypatch.chdir(root / "a")
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("odd.png")
    elif kind == "device":
        odd.symlink_to("/dev/zero")
    elif kind == "folder":
        odd.mkdir()
        (odd / "inner.png").write_bytes((root / "a" / "000.png").read_bytes())
    elif kind == "huge":
        with odd.open("wb") as file:
            file.truncate(2**33)
    elif kind == "loop":
        odd.symlink_to(odd)
    else:
        os.rename(root / "a" / "000.png", os.fsencode(root / "a") + b"/\xff.png")
    (tmp_path / "recipe.yaml").write_text(recipe_text(root, tmp_path, student=None))
    start = time.monotonic()
    code = command("train", tmp_path / "recipe.yaml", "--workers", "0")
    told = capsys.readouterr()
    assert time.monotonic() - start < 60
    if kind in ("huge", "unreadable name"):
        assert code == 2 and len(told.err.splitlines()) == 1, told.err
    else:
        assert code == 0, told.err
        assert (
            kind == "folder" or "passed over, as no images that can be read: links to nothing, pipes or devices (1)" in told.out
        )
