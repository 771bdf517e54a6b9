"""stack/potts.py: two labels whose outlines cost by length."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from two_stream_fusion.base import tiles
from two_stream_fusion.stack import potts


def energy(labels, cost):
    """What `binary_potts` minimises: the cost of what is chosen and the length of outlines."""
    labels = np.asarray(labels, np.float64)
    across, down = np.zeros_like(labels), np.zeros_like(labels)
    across[:, :-1] = np.diff(labels, axis=1)
    down[:-1] = np.diff(labels, axis=0)
    return (cost * labels).sum() + np.hypot(across, down).sum()


@pytest.mark.parametrize("shape", [(1, 12), (11, 1), (2, 2), (3, 4), (2, 7)])
def test_the_least_of_all_labellings_of_a_small_image(shape, monkeypatch):
    """All are tried. Along a line the least is found; in two dimensions cutting values may cost a pixel of
    outline, since lengths are those of slopes between pixels, in which a corner counts sqrt(2).
    """
    monkeypatch.setattr(potts, "STEPS", 1000)
    rng = np.random.default_rng(0)
    every = [np.reshape(bits, shape) for bits in itertools.product([0, 1], repeat=shape[0] * shape[1])]
    more = []
    for _ in range(20):
        cost = rng.normal(0, 1.5, shape).astype(np.float32)
        more.append(energy(potts.binary_potts(cost), cost) - min(energy(labels, cost) for labels in every))
    assert max(more) < (0.01 if 1 in shape else 1)
    assert np.mean(more) < 0.1


@pytest.mark.parametrize("size", [(9, 9), (40, 40), (101, 77)])
def test_a_pixel_stays_where_it_is_worth_its_outline(size):
    """The outline of one pixel is 2 + sqrt(2) = 3.41 long, as slopes go."""
    cost = np.ones(size, np.float32)
    at = size[0] // 2, size[1] // 2
    cost[at] = -3.2
    assert not potts.binary_potts(cost).any()
    cost[at] = -3.6
    expected = np.zeros(size, bool)
    expected[at] = True
    np.testing.assert_array_equal(potts.binary_potts(cost), expected)


def test_without_evidence_the_shortest_border_wins():
    """Two rims say 1 and 0; between, the outline takes the waist, of 20 pixels where it is 60 elsewhere."""
    cost = np.full((60, 200), 0, np.float32)
    cost[:, :10], cost[:, -10:] = -5, 5
    rows = np.arange(60)
    for x in range(10, 190):
        half = 10 + abs(x - 120) // 2
        outside = np.abs(rows - 29.5) > half
        cost[outside, x] = np.where(x < 120, -5, 5)
    labels = potts.binary_potts(cost)
    assert labels[:, :115].all() and not labels[:, 125:].any()


def test_far_from_any_rim_a_plain_is_filled():
    """A frame one pixel wide says 1 around 1000 x 1000 pixels that say nothing."""
    cost = np.zeros((1000, 1000), np.float32)
    cost[[0, -1]] = cost[:, [0, -1]] = -5
    assert potts.binary_potts(cost).all()


def test_noise_is_smoothed_and_edges_stay():
    rng = np.random.default_rng(1)
    truth = np.zeros((120, 160), bool)
    truth[30:90, 40:120] = True
    cost = np.where(truth, -0.3, 0.3) + rng.normal(0, 0.6, truth.shape)
    assert ((cost < 0) != truth).mean() > 0.25
    wrong = potts.binary_potts(cost) != truth
    assert wrong.mean() < 0.01
    wrong[[29, 30, 89, 90]] = wrong[:, [39, 40, 119, 120]] = False
    assert wrong.mean() < 0.002


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 2**32), st.sampled_from([0.01, 0.3, 3, 1e4]))
@example(2, 2, 392, 3)
@example(1, 48, 5298256, 0.3)
def test_no_worse_than_one_label_or_each_pixel_by_itself(height, width, seed, spread):
    cost = np.random.default_rng(seed).normal(0, spread, (height, width)).astype(np.float32)
    before = cost.copy()
    labels = potts.binary_potts(cost)
    assert labels.dtype == bool and labels.shape == cost.shape and (cost == before).all()
    least = min(energy(x, cost) for x in (np.zeros_like(cost), np.ones_like(cost), cost < 0))
    assert energy(labels, cost) <= least + 1e-3 * height * width


def test_equal_costs_choose_the_first_label():
    assert not potts.binary_potts(np.zeros((50, 70), np.float32)).any()


def test_rows_and_columns_are_alike():
    cost = np.random.default_rng(2).normal(0, 1, (48, 48)).astype(np.float32)
    np.testing.assert_array_equal(potts.binary_potts(cost.T), potts.binary_potts(cost).T)


def test_tiles_do_not_show(monkeypatch):
    cost = np.random.default_rng(3).normal(0, 1, (150, 170)).astype(np.float32)
    at_once = potts.binary_potts(cost)
    monkeypatch.setattr(tiles, "TILE", 40)
    np.testing.assert_array_equal(potts.binary_potts(cost), at_once)
