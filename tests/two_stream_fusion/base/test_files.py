"""Files and folders that appear whole or not at all."""

import os
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
    rename(out, tmp_path / "data.old")  # a run was killed between the two renames
    with pytest.raises(ValueError, match="wrong"), files.atomic_folder(out):
        raise ValueError("wrong")
    assert (out / "old.h5").exists() and not (tmp_path / "data.old").exists()


def test_a_folder_just_finished_by_another_run_is_refused(tmp_path, monkeypatch):
    flock = files.fcntl.flock

    def late(file, how):
        (tmp_path / "data.part").rename(tmp_path / "data")
        flock(file, how)

    monkeypatch.setattr(files.fcntl, "flock", late)
    with pytest.raises(ValueError, match="another run"), files.atomic_folder(tmp_path / "data"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
