"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from two_stream_fusion.base import files


def test_the_older_folder_comes_back_where_the_new_one_fails(tmp_path, monkeypatch):
    out, rename = tmp_path / "data", os.rename
    out.mkdir()
    (out / "old.h5").touch()

    def failing(a, b):
        if Path(a).name == "data.part":
            raise OSError(5, "Input/output error")
        rename(a, b)

    monkeypatch.setattr(files.os, "rename", failing)
    with pytest.raises(OSError, match="Input/output"), files.atomic_folder(out) as part:
        (part / "new.h5").touch()
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == [
        "data",
        "data/old.h5",
    ]
    monkeypatch.undo()
    (out / files.MARK).touch()
    rename(out, tmp_path / "data.old")  # a run was killed between the two renames
    with pytest.raises(ValueError, match="wrong"), files.atomic_folder(out):
        raise ValueError("wrong")
    assert (out / "old.h5").exists() and not (tmp_path / "data.old").exists()


def test_a_folder_just_finished_by_another_run_is_refused(tmp_path, monkeypatch):
    flock = files.fcntl.flock

    def late(file, action):
        (tmp_path / "data.part").rename(tmp_path / "data")
        flock(file, action)

    monkeypatch.setattr(files.fcntl, "flock", late)
    with pytest.raises(ValueError, match="another run"), files.atomic_folder(tmp_path / "data"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def listing(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("ending", ["old", "part"])
@pytest.mark.parametrize("kind", ["folder", "file", "link"])
@pytest.mark.parametrize("older", [False, True])
def test_a_folder_of_the_user_is_refused_by_name(ending, kind, older, tmp_path):
    out, foreign = tmp_path / "out", tmp_path / f"out.{ending}"
    if older:
        out.mkdir()
        (out / "old.h5").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").touch()
    if kind == "folder":
        foreign.mkdir()
        (foreign / "precious").touch()
    elif kind == "file":
        foreign.write_text("precious")
    else:
        foreign.symlink_to(tmp_path / "elsewhere")
    before = listing(tmp_path)
    with pytest.raises(
        ValueError, match=rf"out\.{ending}: was not made by this program"
    ), files.atomic_folder(out):
        raise AssertionError("not reached")
    assert listing(tmp_path) == before


@pytest.mark.parametrize("fails", [False, True])
def test_what_a_user_makes_meanwhile_stays(fails, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.h5").touch()
    with pytest.raises(ValueError, match=r"wrong|out\.old: was not made"), files.atomic_folder(out) as part:
        (part / "new.h5").touch()
        (tmp_path / "out.old").mkdir()
        (tmp_path / "out.old" / "precious").touch()
        if fails:
            raise ValueError("wrong")
    assert listing(tmp_path) == ["out", "out.old", "out.old/precious", "out/old.h5"]


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    for name in ("out.old", "out.part"):
        (tmp_path / name / "train").mkdir(parents=True)
        (tmp_path / name / files.MARK).touch()
        (tmp_path / name / "train" / "0.h5").touch()
    (tmp_path / "out").mkdir()
    with files.atomic_folder(tmp_path / "out") as part:
        (part / "new.h5").touch()
    assert listing(tmp_path) == ["out", "out/new.h5"]


def test_empty_folders_of_these_names_are_used(tmp_path):
    for name in ("out", "out.old", "out.part"):
        (tmp_path / name).mkdir()
    with files.atomic_folder(tmp_path / "out") as part:
        (part / "new.h5").touch()
    assert (tmp_path / "out" / "new.h5").exists() and not (tmp_path / "out.part").exists()


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_appears_meanwhile_stays(tmp_path, monkeypatch, has_links):
    """Two programs write one file: the second may not replace what the first has written."""

    def no_link(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(files.os, "link", no_link)
    path = tmp_path / "x.png"
    refused = pytest.raises(ValueError, match=r"x.png: exists; --force replaces it")
    with refused, files.atomic_write(path, replace=False) as second:
        second.write_bytes(b"second")
        path.write_bytes(b"first")
    assert path.read_bytes() == b"first" and os.listdir(tmp_path) == ["x.png"]
    with files.atomic_write(tmp_path / "y.png", replace=False) as partial:
        partial.write_bytes(b"new")
    assert (tmp_path / "y.png").read_bytes() == b"new" and sorted(os.listdir(tmp_path)) == ["x.png", "y.png"]
    with files.atomic_write(path) as partial:
        partial.write_bytes(b"newer")
    assert path.read_bytes() == b"newer"


@pytest.mark.parametrize("fails", [False, True])
def test_no_empty_file_is_left_where_there_are_no_links(tmp_path, monkeypatch, fails):
    """The name is taken by an empty file first: neither Ctrl-C nor an error of the disk leaves that."""

    def no_link(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    def interrupted(source, target):
        os.kill(os.getpid(), signal.SIGINT)
        if fails:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    rename = os.replace
    monkeypatch.setattr(files.os, "link", no_link)
    monkeypatch.setattr(files.os, "replace", interrupted)
    path = tmp_path / "x.png"
    ends = pytest.raises(OSError if fails else KeyboardInterrupt)
    with ends, files.atomic_write(path, replace=False) as partial:
        partial.write_bytes(b"new")
    assert os.listdir(tmp_path) == ([] if fails else ["x.png"])
    assert fails or path.read_bytes() == b"new"


def test_fifos_devices_and_links_to_nothing_stay(tmp_path):
    fifo = tmp_path / "fifo.png"
    os.mkfifo(fifo)
    for path, description in ((fifo, "a FIFO"), (Path(os.devnull), "a device")):
        with pytest.raises(ValueError, match=f"{path}: is {description}; output goes to files"):
            files.check_output(path, force=True)
        with pytest.raises(ValueError, match=f"is {description}"), files.atomic_write(path):
            raise AssertionError("not begun")
    with pytest.raises(ValueError, match="/dev/stdout: is a device"):  # where it leads to a file too
        files.check_output("/dev/stdout", force=True)
    (tmp_path / "link.png").symlink_to(tmp_path / "none.png")
    with pytest.raises(ValueError, match=r"link.png: exists; --force"):
        files.check_output(tmp_path / "link.png")
    files.check_output(tmp_path / "link.png", force=True)
    assert fifo.is_fifo()


def test_texts_may_name_any_file(tmp_path):
    files.write_text(tmp_path / "x.txt", "é \udcff.png")
    assert (tmp_path / "x.txt").read_text(encoding="utf-8") == "é \\udcff.png"


def test_a_text_has_an_end(tmp_path):
    (tmp_path / "x.csv").touch()
    os.truncate(tmp_path / "x.csv", 2**40)  # takes no room
    with pytest.raises(ValueError, match=r"x\.csv: larger than 64 MiB, too large for such a file"):
        files.read_text(tmp_path / "x.csv", "a list")
    with pytest.raises(ValueError, match="/dev/zero: is a FIFO, a socket or a device"):
        files.read_text("/dev/zero", "a list")
