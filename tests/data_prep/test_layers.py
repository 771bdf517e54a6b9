"""data_prep/layers.py: stacks rendered from layers."""

import numpy as np
import pytest

from data_prep import layers
from data_prep.layers import Layer

SHAPE = (40, 60)


def make_scene(near=200, far=40):
    """A far layer of one level, and a near half of another, 4 planes before it."""

    def photograph(level):
        return np.full((*SHAPE, 3), level, np.uint8)

    everywhere = np.ones(SHAPE, np.float32)
    right = everywhere * (np.arange(60) >= 30)
    return [
        Layer(photograph(far), everywhere, 0 * everywhere),
        Layer(photograph(near), right, 4 * everywhere),
    ]


def test_in_focus_everywhere_is_the_composite():
    image = layers.render(make_scene())
    assert image[:, :30] == pytest.approx(40, abs=1e-3) and image[:, 30:] == pytest.approx(200, abs=1e-3)


def test_what_is_near_spills_over_what_is_far():
    far_in_focus, near_in_focus = (layers.render(make_scene(), at, 1.0) for at in (0, 4))
    assert far_in_focus[20, 27, 0] > 60 and far_in_focus[20, 10, 0] == pytest.approx(40, abs=1e-3)
    # The sharp outline hides the blurred background, and none of the near layer is in it.
    assert near_in_focus == pytest.approx(layers.render(make_scene()), abs=1e-3)


def test_a_hidden_background_continues():
    """A slope of one level: what it hides of itself leaves no mark."""
    everywhere = np.ones(SHAPE, np.float32)
    slope = Layer(
        np.full((*SHAPE, 3), 90, np.uint8), everywhere, everywhere * np.linspace(0, 6, 60, dtype=np.float32)
    )
    assert layers.render([slope], 3, 1.0) == pytest.approx(90, abs=1e-3)


def test_depth_is_of_the_nearest():
    depth = layers.visible_depth(make_scene())
    assert (depth[:, :30] == 0).all() and (depth[:, 30:] == 4).all()


def test_hairs_are_thin():
    matte = layers.draw_hairs((80, 100), 5, np.random.default_rng(0))
    assert matte.min() == 0 and 0.7 < matte.max() <= 1 and 0.01 < matte.mean() < 0.2


def test_golden_width_of_hairs():
    assert layers.draw_hairs((80, 100), 5, np.random.default_rng(0)).mean() == pytest.approx(0.0624, abs=5e-4)


def test_depths_are_rounded_to_half_planes():
    everywhere = np.ones(SHAPE, np.float32)
    for depth, rounded in ((0.2, 0), (0.3, 0.5), (0.7, 0.5), (0.8, 1)):
        layer = Layer(np.zeros((*SHAPE, 3), np.uint8), everywhere, depth * everywhere)
        assert (layers.visible_depth([layer]) == rounded).all()
