"""Rows in HDF5 files."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from data_prep import database
from data_prep.pair_patches import PairPatches


def test_rows_are_checked_before_they_are_written(tmp_path):
    rows = database.Database(tmp_path / "data", 3, PairPatches(patch=16).datasets())
    with pytest.raises(ValueError, match="not \\(4, 16, 16\\) uint8"):
        rows.write_row(0, [np.zeros((4, 16, 15), np.uint8)] * 3)
    with pytest.raises(ValueError, match="float64"):
        rows.write_row(0, [np.zeros((4, 16, 16))] * 3)


class ShortWrites:
    """A raw file that takes half of what it is given, as on a disk that gets full."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, content):
        return self.file.write(content[: len(content) // 2])


def test_a_short_write_raises(tmp_path, monkeypatch):
    rows = database.Database(tmp_path / "rows", 3, {"data": ((4, 4), np.uint8)})
    rows.write_row(0, [np.ones((4, 4), np.uint8)])
    real = builtins.open
    monkeypatch.setattr(database, "open", lambda *a, **k: ShortWrites(real(*a, **k)), raising=False)
    with pytest.raises(OSError, match="8 of 16 bytes were written") as caught:
        rows.write_row(1, [np.ones((4, 4), np.uint8)])
    assert caught.value.filename == str(tmp_path / "rows" / "000.h5")
