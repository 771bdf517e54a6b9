import numpy as np
import pytest

from data_prep import depth_pair


@pytest.fixture
def scene():
    """A textured square (disparity 50) before a textured wall (disparity 15)."""
    texture = np.random.default_rng(0).integers(60, 200, (80, 80, 3), dtype=np.uint8)
    disparity = np.full((80, 80), depth_pair.FAR, np.float32)
    disparity[25:55, 25:55] = depth_pair.NEAR
    return texture, disparity


def test_near_focus_has_a_sharp_outline(scene):
    texture, disparity = scene
    rendered = depth_pair.focus(texture, disparity, depth_pair.NEAR).astype(int)
    square = disparity == depth_pair.NEAR
    assert np.abs(rendered - texture)[square].max() <= 1
    assert rendered[~square].std() < texture[~square].std() / 3


def test_far_focus_lets_the_near_square_spill_over_the_wall(scene):
    texture, disparity = scene
    rendered = depth_pair.focus(texture, disparity, depth_pair.FAR).astype(int)
    error = np.abs(rendered - texture).max(axis=2)
    radius = int(depth_pair.BLUR * (depth_pair.NEAR - depth_pair.FAR - depth_pair.SHARP))
    reach = np.zeros((80, 80), bool)
    reach[25 - radius - 2 : 55 + radius + 2, 25 - radius - 2 : 55 + radius + 2] = True
    assert radius >= 4
    assert error[~reach].max() <= 1  # the wall beyond it is sharp
    assert error[25 - radius : 25, 30:50].mean() > 3  # it is not where the square's blur lies over it
    assert rendered[35:45, 35:45].std() < texture[35:45, 35:45].std() / 3


def test_nothing_is_lost_or_added_by_blurring():
    flat = np.full((40, 40, 3), 90, np.uint8)
    disparity = np.tile(np.linspace(5, 60, 40, dtype=np.float32), (40, 1))
    for at in (depth_pair.NEAR, depth_pair.FAR):
        assert np.array_equal(depth_pair.focus(flat, disparity, at), flat)


def test_gaps_take_the_farther_neighbour():
    row = np.array([20, 20, 20, np.inf, np.inf, np.nan, 50, 50, 50, 50], np.float32)
    filled = depth_pair.fill(np.tile(row, (7, 1)))
    assert filled[3].tolist() == [20, 20, 20, 20, 20, 50, 50, 50, 50, 50]
    open_ended = np.tile(np.array([np.inf, 20, 20, 20, np.inf], np.float32), (7, 1))
    assert (depth_pair.fill(open_ended) == 20).all()


def test_motorcycle_and_wall_are_sharp_in_one_of_the_two(rendered_pair):
    near, far, sharp = (image.astype(int) for image in rendered_pair)
    assert near.shape == far.shape == sharp.shape == (500, 741, 3)
    near_error, far_error = (np.abs(image - sharp).max(axis=2) for image in (near, far))
    engine, shelf = (slice(270, 370), slice(340, 460)), (slice(20, 280), slice(580, 700))
    assert near_error[engine].mean() < 2 < 10 < far_error[engine].mean()
    assert far_error[shelf].mean() < 2 < 5 < near_error[shelf].mean()
    assert (
        np.minimum(near_error, far_error) > 8
    ).mean() < 0.02  # all but outlines is sharp in one of the two


def test_golden_focus(monkeypatch):
    """The mean difference from the sharp photograph, at both disparities in focus."""
    i, j = np.indices((48, 64))
    planes = [(i * j // 8 + 37 * (i // 16) + k * j * j // 11) % 256 for k in (1, 2, 3)]
    texture = np.stack(planes, -1).astype(np.uint8)
    disparity = np.tile(np.linspace(5, 60, 64, dtype=np.float32), (48, 1))
    disparity[10:30, 20:40] = 57
    monkeypatch.setattr(depth_pair, "scene", lambda: (texture, disparity))
    near, far, sharp = (image.astype(int) for image in depth_pair.render_depth_pair())
    assert [np.abs(x - sharp).mean() for x in (near, far)] == pytest.approx([5.951, 30.178], abs=0.05)
