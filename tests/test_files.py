"""Files: whole or not at all, never through a link, and no litter left."""

import os
import subprocess
import sys

import pytest

from pixeldistill.errors import DataError, RunError
from pixeldistill.storage.files import (
    PARTIAL,
    WatchedFolder,
    _host,
    differences,
    locked,
    read_json,
    read_text,
    remove_litter,
    write_file,
)

POSIX = pytest.mark.skipif(os.name == "nt", reason="of POSIX file systems")


def test_writing_replaces_a_file_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_file(path, "old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RunError, match=r"a\.txt could not be written \(No space left on device\)"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@POSIX
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_a_file_the_users_umask_says(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_file(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == mode


@POSIX
def test_a_link_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "a").symlink_to(tmp_path / "mine")
    write_file(tmp_path / "a", "ours")
    assert (tmp_path / "mine").read_text() == "mine"
    assert (tmp_path / "a").read_text() == "ours" and not (tmp_path / "a").is_symlink()


@POSIX
def test_a_lock_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".lock").symlink_to(tmp_path / "mine")
    with pytest.raises(RunError, match=r"\.lock is a link"), locked(tmp_path, "busy"):
        pass
    assert (tmp_path / "mine").read_text() == "mine"


def test_what_a_killed_process_left_is_swept_at_the_next_writing(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    left = tmp_path / f".a.txt.{_host()}-{ended.pid}-abcd{PARTIAL}"
    own = tmp_path / f".a.txt.{_host()}-{os.getpid()}-abcd{PARTIAL}"  # of a process that had our number, as in a container
    living = tmp_path / f".a.txt.{_host()}-{os.getppid()}-abcd{PARTIAL}"
    foreign = tmp_path / f".a.txt.0123abcd-1-abcd{PARTIAL}"
    for path in (left, own, living, foreign):
        path.touch()
    write_file(tmp_path / "a.txt", "")
    assert {p for p in tmp_path.iterdir() if p.name != "a.txt"} == {living, foreign}
    os.utime(foreign, (0, 0))
    write_file(tmp_path / "a.txt", "")
    assert not foreign.exists(), "a day old, wherever it is from"
    foreign.touch()
    remove_litter([foreign, living], held=True)
    assert not foreign.exists() and living.exists(), "who holds the folder knows that no other machine writes"


def test_a_folder_that_is_another_is_not_written_to(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    held = WatchedFolder(folder)
    held.check()
    folder.rename(tmp_path / "moved")
    with pytest.raises(RunError, match="was moved or deleted"):
        held.check()
    folder.mkdir()
    with pytest.raises(RunError, match="was moved or deleted"):
        held.check()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"9" * 5000, "is not JSON"),
    ],
)
def test_damaged_json_is_a_line(tmp_path, content, words):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=words) as error:
        read_json(tmp_path / "a.json", DataError)
    assert len(str(error.value)) < 400


def test_text_that_is_far_too_long_is_not_read(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 1001)
    with pytest.raises(RunError, match=r"more than 1\.0 kB"):
        read_text(tmp_path / "a", largest=1000)
    assert read_text(tmp_path / "a", largest=1001) == "x" * 1001


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunError, match="no regular file"):
        read_text(tmp_path / "pipe")
    with pytest.raises(RunError, match="is a folder"):
        read_text(tmp_path)


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "no/such"])
def test_a_name_that_the_system_does_not_take_is_a_line(tmp_path, name):
    with pytest.raises(RunError, match="cannot be read"):
        read_text(tmp_path / name)


def test_differences_are_told_as_json():
    before, after = {"a": {"b": None, "c": [1, 2]}, "d": "x" * 999}, {"a": {"b": 32, "c": [1, 3]}, "d": "y"}
    told = list(differences(before, after))
    assert told[:2] == ["a.b was null, is 32", "a.c.1 was 2, is 3"]
    assert len(told[2]) < 100
