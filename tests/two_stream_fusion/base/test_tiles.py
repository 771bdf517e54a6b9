"""base/tiles.py: tiles cover an image, and do not show."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from two_stream_fusion.base import tiles


@given(
    height=st.integers(1, 90), width=st.integers(1, 90), tile=st.integers(0, 100), margin=st.integers(0, 20)
)
def test_tiles_cover_every_pixel_once_and_reach_around(height, width, tile, margin):
    visits = np.zeros((height, width), int)
    indices = np.arange(height * width).reshape(height, width)
    for inner, outer, inside in tiles.tiles((height, width), tile, margin):
        visits[inner] += 1
        assert np.array_equal(indices[outer][inside], indices[inner])
        for i, o, length in zip(inner, outer, (height, width)):
            assert o.start == max(0, i.start - margin) and o.stop == min(length, i.stop + margin)
            assert not tile or i.stop - i.start <= tile
    assert (visits == 1).all()


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (37, 50)])
def test_map_tiles_is_the_same_as_at_once(size, monkeypatch):
    """Of two arrays, one of them in colour; a mean that looks two pixels far and a value by itself."""
    monkeypatch.setattr(tiles, "TILE", 16)
    rng = np.random.default_rng(0)
    gray, colour = rng.random(size, np.float32), rng.integers(0, 256, (*size, 3), np.uint8)

    def compute(gray, colour):
        return cv2.blur(gray, (5, 5), borderType=cv2.BORDER_REFLECT_101), colour + 1

    mean, more = tiles.map_tiles(compute, (gray, colour), margin=2)
    np.testing.assert_allclose(mean, compute(gray, colour)[0], rtol=1e-6)
    np.testing.assert_array_equal(more, compute(gray, colour)[1])
    np.testing.assert_array_equal(tiles.map_tiles(np.negative, (gray,)), -gray)


def test_what_a_tile_raises_is_raised(monkeypatch):
    monkeypatch.setattr(tiles, "TILE", 16)
    with pytest.raises(ZeroDivisionError):
        tiles.map_tiles(lambda part: part if part.shape[0] == 16 else 1 // 0, (np.zeros((40, 40)),))
