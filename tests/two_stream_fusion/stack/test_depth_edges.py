"""stack/depth_edges.py: the network's image at depth edges."""

import numpy as np
import pytest

from two_stream_fusion.base import tiles
from two_stream_fusion.stack.depth_edges import blend_network, edge_weight, fuse_tree

SHAPE = (60, 80)


def halves(step):
    return (np.arange(80) >= 40) * np.uint16(step) + np.zeros((60, 1), np.uint16)


def blend(image, network_image, step=4, count=8):
    frames = [np.full_like(image, value) for value in (0, np.iinfo(image.dtype).max)]
    return blend_network(image, network_image, frames, edge_weight(halves(step), count))


def test_a_tree_fuses_neighbours_in_their_order():
    trees = {
        1: "a",
        2: "(ab)",
        3: "((ab)c)",
        5: "(((ab)(cd))e)",
        6: "(((ab)(cd))(ef))",
        7: "(((ab)(cd))((ef)g))",
    }
    for count, tree in trees.items():
        assert fuse_tree(lambda a, b: f"({a}{b})", iter("abcdefg"[:count])) == tree


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 3)])
def test_the_network_counts_near_depth_edges_alone(shape, dtype):
    top = np.iinfo(dtype).max
    chosen, network_image = np.full(shape, top // 2, dtype), np.full(shape, top // 4, dtype)
    before = chosen.copy(), network_image.copy()
    image = blend(chosen, network_image)
    assert image.dtype == dtype and image.shape == shape
    np.testing.assert_array_equal(image[:, :26], chosen[:, :26])
    np.testing.assert_array_equal(image[:, 54:], chosen[:, 54:])
    assert abs(image[:, 35:45].astype(float) - top // 4).max() < 0.02 * top
    assert all(np.array_equal(x, y) for x, y in zip((chosen, network_image), before))


@pytest.mark.parametrize(
    "step, count, is_edge", [(2, 3, 0), (2, 8, 0), (3, 4, 1), (3, 12, 1), (3, 13, 0), (4, 13, 1), (7, 32, 0)]
)
def test_depth_edges_step_over_a_quarter_of_the_stack(step, count, is_edge):
    assert (edge_weight(halves(step), count) is not None) == bool(is_edge)
    assert (edge_weight(halves(step).T, count) is not None) == bool(is_edge)


@pytest.mark.parametrize(("pixels", "is_edge"), [(9, False), (11, True)])
def test_small_regions_have_no_depth_edge(pixels, is_edge):
    """The bound is ten of 20 000 pixels."""
    choice = np.zeros((100, 200), np.uint16)
    choice[50, 50 : 50 + pixels] = 7
    assert (edge_weight(choice, 8) is not None) == is_edge


def test_images_that_are_alike_keep_the_frames():
    """A difference of a level is the network's own error; one of forty is a halo."""
    chosen = np.full(SHAPE, 100, np.uint8)
    for difference, share in ((1, 0.1), (40, 0.98)):
        image = blend(chosen, chosen + np.uint8(difference)).astype(float)
        assert (image[:, 38:42].mean() - 100) / difference == pytest.approx(share, abs=0.1)


def test_values_stay_in_the_range_of_the_frames_nearby():
    chosen, network_image = np.full(SHAPE, 100, np.uint8), np.full(SHAPE, 200, np.uint8)
    bright = chosen.copy()
    bright[30, 40] = 170
    image = blend_network(chosen, network_image, [chosen, bright], edge_weight(halves(4), 8))
    rows, columns = np.nonzero(image != 100)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (28, 32, 38, 42)
    assert 150 < image[30, 40] <= 170


def test_noise_counts_as_alike():
    rng, shape = np.random.default_rng(1), (120, 80)  # large enough for noise to be measured
    chosen, network_image = (np.clip(100 + rng.normal(0, 8, shape), 0, 255).astype(np.uint8) for _ in "ab")
    weight = edge_weight(np.tile(halves(4), (2, 1)), 8)
    image = blend_network(chosen, network_image, [chosen * 0, chosen * 0 + 255], weight)
    change, difference = (abs(x.astype(float) - chosen)[:, 32:48] for x in (image, network_image))
    assert change.mean() < 0.6 * difference.mean()


def test_tiles_do_not_show(monkeypatch):
    rng = np.random.default_rng(2)
    chosen, network_image = (rng.integers(0, 255, (*SHAPE, 3), np.uint8) for _ in "ab")
    image = blend(chosen, network_image)
    monkeypatch.setattr(tiles, "TILE", 25)
    np.testing.assert_array_equal(blend(chosen, network_image), image)


def test_golden_weight_across_an_edge():
    weight = edge_weight(halves(3), 4)[30]
    assert weight[[29, 30, 31, 32, 34, 40, 47, 48, 49, 50]] == pytest.approx(
        [0.059, 0.301, 0.699, 0.941, 1, 1, 0.995, 0.941, 0.699, 0.301], abs=0.01
    )
