"""Rows in HDF5 files."""

import numpy as np
import pytest

from data_prep import database
from data_prep.pair_patches import PairPatches


def test_rows_are_checked_before_they_are_written(tmp_path):
    rows = database.Database(tmp_path / "data", 3, PairPatches(patch=16).datasets())
    with pytest.raises(ValueError, match="not \\(4, 16, 16\\) uint8"):
        rows.put(0, [np.zeros((4, 16, 15), np.uint8)] * 3)
    with pytest.raises(ValueError, match="float64"):
        rows.put(0, [np.zeros((4, 16, 16))] * 3)
