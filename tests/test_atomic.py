"""Files are written whole or not at all."""

import os

import pytest

from neuroprune.network.atomic import write_atomically


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("text", [True, False])
def test_what_is_written_is_there(tmp_path, text):
    path, content = tmp_path / "a.txt", "zeile\nümlaut\r\n"
    write_atomically(path, lambda file: file.write(content if text else content.encode()), text=text)
    assert path.read_bytes() == content.encode()
    write_atomically(str(path), lambda file: file.write("b" if text else b"b"), text=text)
    assert path.read_bytes() == b"b" and names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("existed", [True, False])
def test_an_error_leaves_what_was_there(tmp_path, error, existed):
    path = tmp_path / "a.txt"
    if existed:
        path.write_text("before")

    def write(file):
        file.write("half")
        raise error("stop")

    with pytest.raises(error, match="stop"):
        write_atomically(path, write, text=True)
    assert names(tmp_path) == (["a.txt"] if existed else [])
    assert not existed or path.read_text() == "before"


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_disk_leaves_what_was_there(tmp_path, monkeypatch, step):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def fail(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="no space left"):
        write_atomically(path, lambda file: file.write("after"), text=True)
    assert names(tmp_path) == ["a.txt"] and path.read_text() == "before"


def test_the_file_is_closed_before_it_is_renamed(tmp_path, monkeypatch):
    """Some systems do not rename or remove an open file."""
    opened, replace, seen = [], os.replace, []

    def look(source, target):
        seen.append(opened[0].closed)
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    write_atomically(tmp_path / "a", lambda file: (opened.append(file), file.write(b"x")))
    assert seen == [True]


def test_it_is_flushed_to_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    done = []
    for step in ("fsync", "replace"):
        original = getattr(os, step)
        monkeypatch.setattr(os, step, lambda *a, step=step, original=original: (done.append(step), original(*a))[1])
    write_atomically(tmp_path / "a", lambda file: file.write(b"x"))
    assert done == ["fsync", "replace"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "no" / "a.txt", lambda file: file.write(b"x"))
    assert names(tmp_path) == []


def test_a_target_that_is_a_folder_is_an_error(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError):
        write_atomically(tmp_path / "a", lambda file: file.write(b"x"))
    assert names(tmp_path) == ["a"] and names(tmp_path / "a") == []
