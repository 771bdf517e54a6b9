"""stack/neighbour_fill.py: fixed borders do not disturb alignment."""

import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import photograph
from tests.two_stream_fusion.stack.test_matte import Sequence
from two_stream_fusion.io import images
from two_stream_fusion.stack import frames
from two_stream_fusion.stack.frames import Frames
from two_stream_fusion.stack.neighbour_fill import NeighbourFilled

SIZE = 120, 160


def moving_frames(shifts=(0, 3), border=8):
    """Crops of a photograph, each shifted both ways, with fixed borders that hide black."""
    scene = photograph()[60:240, 120:360]
    colours, alphas = [], []
    for i, shift in enumerate(shifts):
        pixels = scene[shift : shift + SIZE[0], shift : shift + SIZE[1]].copy()
        alpha = np.full(SIZE, 255, np.uint8)
        hidden = slice(0, border) if i % 2 else slice(-border, None)
        alpha[hidden] = alpha[:, hidden] = 0
        pixels[alpha == 0] = 0
        colours.append(pixels)
        alphas.append(alpha)
    return scene, Sequence(colours, alphas)


def shift_matrix(shift):
    return np.array([[1.0, 0, shift], [0, 1, shift], [0, 0, 1]])


def test_hidden_pixels_are_those_of_neighbours_moved():
    scene, sequence = moving_frames((0, 3, 5))
    filled = NeighbourFilled(sequence, [shift_matrix(-shift) for shift in (0, 3, 5)])
    assert len(filled) == 3
    for i, shift in enumerate((0, 3, 5)):
        error = np.abs(filled[i].astype(int) - scene[shift : shift + SIZE[0], shift : shift + SIZE[1]])
        assert (error[16:-16, 8:-8] <= 1).all() and (error[8:-8, 16:-16] <= 1).all()


def test_frames_without_alpha_are_as_they_are():
    _, sequence = moving_frames()
    sequence.alphas[1] = None
    filled = NeighbourFilled(sequence, [np.eye(3)] * 2)
    assert filled[1] is sequence.colours[1]
    np.testing.assert_array_equal(filled[0][-8:], sequence.colours[1][-8:])


@pytest.mark.parametrize(("rounds", "error"), [(0, 0.6), (frames.ALPHA_ROUNDS, 0.05)])
def test_borders_that_stand_still_do_not_pull(tmp_path, monkeypatch, rounds, error):
    """More rounds help: without them the estimate is pulled towards no motion."""
    monkeypatch.setattr(frames, "ALPHA_ROUNDS", rounds)
    _, sequence = moving_frames()
    for i, (pixels, alpha) in enumerate(zip(sequence.colours, sequence.alphas)):
        images.write(tmp_path / f"{i}.png", pixels, alpha)
    registered = Frames(sorted(tmp_path.iterdir())).registered(0, "translation")
    assert np.abs(registered.matrices[1][:2, 2] + 3).max() <= error
