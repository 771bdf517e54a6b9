"""outputs.py: what tests/tools/test_fuse.py does not see of it."""

from pathlib import Path

import numpy as np
import pytest

from two_stream_fusion import outputs
from two_stream_fusion.io import images
from two_stream_fusion.outputs import Outputs
from two_stream_fusion.stack.frames import Frames


def test_a_choice_is_spread_over_black_to_white(tmp_path):
    outputs.write_choice_map(tmp_path / "m.png", np.array([[0, 1, 2, 3]], np.uint16), 4)
    assert images.read(tmp_path / "m.png").tolist() == [[0, 85, 170, 255]]
    outputs.write_choice_map(tmp_path / "m.png", np.array([[0, 299]], np.uint16), 300)
    deep = images.read(tmp_path / "m.png")
    assert deep.dtype == np.uint16 and deep.tolist() == [[0, 65535]]


def test_a_panel_shows_some_of_many(tmp_path):
    frames = Frames([np.full((4, 5), 10 * i, np.uint8) for i in range(9)])
    outputs.write_panel(tmp_path / "p.png", frames, np.full((4, 5), 255, np.uint8))
    assert images.read(tmp_path / "p.png")[0, ::5].tolist() == [0, 30, 50, 80, 255]
    deep = Frames([np.full((4, 5), 257 * i, np.uint16) for i in range(2)])
    outputs.write_panel(tmp_path / "p.png", deep, deep[1])
    assert images.read(tmp_path / "p.png")[0, ::5].tolist() == [0, 1, 1]


def test_the_files_are_named():
    paths = [Path(name) for name in "abcd"]
    assert Outputs(*paths, map_folder=Path("m")).files() == paths and Outputs().files() == []


def test_maps_need_a_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file: is not a folder"):
        outputs.check_outputs(Outputs(map_folder=tmp_path / "file"), [], "gf")
