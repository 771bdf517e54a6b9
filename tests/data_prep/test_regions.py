"""Random regions."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import regions


@settings(max_examples=60, deadline=None)
@given(st.integers(25, 600), st.integers(25, 300), st.integers(0, 2**32))
def test_regions_are_one_piece_of_a_fair_size(height, width, seed):
    region = regions.random_region(height, width, np.random.default_rng(seed))
    assert region.shape == (height, width) and region.dtype == bool
    assert 0.05 < region.mean() < 0.6
    pieces, _, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    assert pieces == 2 or stats[1:, cv2.CC_STAT_AREA].max() > 0.98 * region.sum()  # else pixels of its tips


def test_a_region_does_not_depend_on_its_strips(monkeypatch):
    expected = regions.random_region(100, 80, np.random.default_rng(5))
    monkeypatch.setattr(regions, "STRIP_ROWS", 7)
    assert np.array_equal(regions.random_region(100, 80, np.random.default_rng(5)), expected)


GOLDEN = [(0, 7795, 66.27, 65.79), (4, 4889, 78.06, 80.21), (9, 2418, 77.78, 66.1)]


@pytest.mark.parametrize(("seed", "pixels", "row", "column"), GOLDEN)
def test_regions_of_some_seeds_are_as_before(seed, pixels, row, column):
    """Golden: the area, and the centre of gravity."""
    region = regions.random_region(120, 160, np.random.default_rng(seed))
    assert region.sum() == pixels
    assert [indices.mean() for indices in np.nonzero(region)] == pytest.approx([row, column], abs=0.01)


def test_the_outline_has_a_floor():
    """Golden: with waves three times as deep, which reach the floor."""

    class DeepWaves(np.random.Generator):
        def normal(self, loc, scale):
            return super().normal(loc, 3 * scale)

    assert regions.random_region(120, 160, DeepWaves(np.random.PCG64(2))).sum() == 5344
