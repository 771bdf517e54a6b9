import numpy as np
import pytest

from tools import pictures


def test_tiles_stand_row_by_row_a_pixel_apart():
    tiles = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    assert pictures.mosaic(tiles, 2).tolist() == [
        [0, 0, 255, 1, 1],
        [0, 0, 255, 1, 1],
        [255] * 5,
        [2, 2, 255, 255, 255],
        [2, 2, 255, 255, 255],
    ]


def test_tiles_are_enlarged_but_not_the_gap():
    assert pictures.mosaic(np.zeros((2, 2, 3, 3), np.uint8), 2, enlarge=4).shape == (8, 25, 3)


def test_zero_is_mid_gray():
    assert pictures.signed_to_gray([-2, 0, 1]).tolist() == [1, 128, 192]
    assert pictures.signed_to_gray([0, 0]).tolist() == [128, 128]


def test_stretched_from_the_least_to_the_largest():
    assert pictures.stretch_to_gray([3, 4, 5]).tolist() == [0, 128, 255]
    assert pictures.stretch_to_gray([3, 3]).tolist() == [0, 0]


def test_a_figure_is_written_whole_or_not_at_all(tmp_path):
    pyplot = pictures.pyplot()
    pictures.save(pyplot.figure(), tmp_path / "a.png")
    with pytest.raises(ValueError, match="nix"):
        pictures.save(pyplot.figure(), tmp_path / "a.nix")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert not pyplot.get_fignums()
