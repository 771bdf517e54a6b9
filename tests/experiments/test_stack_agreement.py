"""experiments/stacks/agreement.py: the network's image at depth edges."""

import numpy as np
import pytest

from experiments.stacks.agreement import edge_weight, restore_edges
from two_stream_fusion.base import tiles

SHAPE = (60, 80)


def halves(step):
    return (np.arange(80) >= 40) * np.uint16(step) + np.zeros((60, 1), np.uint16)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [SHAPE, (*SHAPE, 3)])
def test_the_network_counts_near_depth_edges_alone(shape, dtype):
    top = np.iinfo(dtype).max
    blended, fused = np.full(shape, top // 2, dtype), np.full(shape, top // 4, dtype)
    before = blended.copy(), fused.copy()
    image = restore_edges(blended, fused, halves(3), 8)
    assert image.dtype == dtype and image.shape == shape
    np.testing.assert_array_equal(image[:, :26], blended[:, :26])
    np.testing.assert_array_equal(image[:, 54:], blended[:, 54:])
    assert abs(image[:, 35:45].astype(float) - top // 4).max() < 0.02 * top
    assert all(np.array_equal(x, y) for x, y in zip((blended, fused), before))


@pytest.mark.parametrize(
    "step, count, changes", [(1, 3, 0), (2, 3, 1), (2, 8, 1), (2, 9, 0), (3, 9, 1), (7, 32, 0)]
)
def test_depth_edges_step_over_a_quarter_of_the_stack(step, count, changes):
    blended, fused = np.full(SHAPE, 100, np.uint8), np.full(SHAPE, 180, np.uint8)
    assert restore_edges(blended, fused, halves(step), count).any() and bool(changes) == (
        restore_edges(blended, fused, halves(step), count) is not blended
    )


def test_images_that_are_alike_keep_the_frames():
    """A difference of a level is the network's own error; one of forty is a halo."""
    blended = np.full(SHAPE, 100, np.uint8)
    for difference, share in ((1, 0.1), (40, 0.98)):
        image = restore_edges(blended, blended + np.uint8(difference), halves(4), 8).astype(float)
        assert (image[:, 38:42].mean() - 100) / difference == pytest.approx(share, abs=0.1)


def test_noise_counts_as_alike():
    rng = np.random.default_rng(1)
    blended, fused = (np.clip(100 + rng.normal(0, 8, SHAPE), 0, 255).astype(np.uint8) for _ in range(2))
    image = restore_edges(blended, fused, halves(4), 8).astype(float)
    assert abs(image - blended)[:, 32:48].mean() < 0.6 * abs(fused.astype(float) - blended)[:, 32:48].mean()


def test_tiles_do_not_show(monkeypatch):
    rng = np.random.default_rng(2)
    blended, fused = (rng.integers(0, 255, (*SHAPE, 3), np.uint8) for _ in range(2))
    image = restore_edges(blended, fused, halves(4), 8)
    monkeypatch.setattr(tiles, "TILE", 25)
    np.testing.assert_array_equal(restore_edges(blended, fused, halves(4), 8), image)


def test_golden_weight_across_an_edge():
    weight = edge_weight(halves(3), 3)[30]
    assert weight[[29, 30, 31, 32, 34, 40, 47, 48, 49, 50]] == pytest.approx(
        [0.059, 0.301, 0.699, 0.941, 1, 1, 0.995, 0.941, 0.699, 0.301], abs=0.01
    )
    assert edge_weight(halves(2), 3) is None
