"""Rows on a disk that does not take them whole."""

from __future__ import annotations

import builtins

import numpy as np
import pytest

from data_prep import database


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
    made = database.Database(tmp_path / "rows", 3, {"data": ((4, 4), np.uint8)})
    made.put(0, [np.ones((4, 4), np.uint8)])
    real = builtins.open
    monkeypatch.setattr(database, "open", lambda *a, **k: ShortWrites(real(*a, **k)), raising=False)
    with pytest.raises(OSError, match="8 of 16 bytes were written") as caught:
        made.put(1, [np.ones((4, 4), np.uint8)])
    assert caught.value.filename == str(tmp_path / "rows" / "000.h5")
