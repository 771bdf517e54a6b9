"""stack/dust.py and alignment: fixed spots while the scene moves."""

import cv2
import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import levels, photograph
from two_stream_fusion.stack import align, registration
from two_stream_fusion.stack.dust import fill_spots, find_spots

SIZE = 250, 320


def faint_pair(faint, spots, shift):
    """A photograph of little contrast, and the same moved and blurred, both with the same dark spots."""
    x, y = shift
    rng = np.random.default_rng(0)
    scene = 150 + faint * (photograph().astype(np.float32) - 128)
    dust = np.ones(SIZE, np.float32)
    for column, row, radius in zip(
        rng.integers(0, SIZE[1], spots), rng.integers(0, SIZE[0], spots), rng.integers(1, 5, spots)
    ):
        cv2.circle(dust, (int(column), int(row)), int(radius), float(rng.uniform(0.5, 0.75)), -1)
    dust = cv2.GaussianBlur(dust, (0, 0), 0.8)[..., None]
    first = scene[60 : 60 + SIZE[0], 80 : 80 + SIZE[1]]
    second = cv2.GaussianBlur(scene[60 + y : 60 + y + SIZE[0], 80 + x : 80 + x + SIZE[1]], (0, 0), 1.5)
    noisy = [levels(view * dust + rng.normal(0, 1, view.shape)) for view in (first, second)]
    return *noisy, np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]])


@pytest.mark.parametrize("shift", [(17, 0), (6, -4)])
@pytest.mark.parametrize("faint", [0.06, 0.12])
def test_a_faint_scene_is_aligned_whatever_the_dust(faint, shift):
    first, second, true = faint_pair(faint, 40, shift)
    assert align.corner_distance(align.estimate(first, second), true, SIZE) < 0.5


def test_soft_dust_that_only_a_smaller_level_shows_is_filled(monkeypatch):
    first, second, true = faint_pair(0.06, 40, (17, 0))
    monkeypatch.setattr(registration, "SPOT_PIXELS", SIZE[0] * SIZE[1] // 2)
    sizes = []

    def find(one, other):
        sizes.append(one.size)
        return None if one.shape == SIZE else find_spots(one, other)

    monkeypatch.setattr(registration.dust, "find_spots", find)
    assert align.corner_distance(align.estimate(first, second), true, SIZE) < 0.5
    assert min(sizes) < max(sizes) == SIZE[0] * SIZE[1]


def test_a_faint_scene_that_stands_still_stays():
    first, second, true = faint_pair(0.1, 40, (0, 0))
    assert align.corner_distance(align.estimate(first, second), true, SIZE) < 0.3


def test_dust_out_of_register_is_noticed():
    first, second, _ = faint_pair(0.06, 40, (17, 0))
    assert align.misalignment(first, second) == pytest.approx(17, abs=0.5)


def test_spots_are_found_and_filled():
    rng = np.random.default_rng(1)
    clean = cv2.GaussianBlur(rng.uniform(0, 1, (80, 100)).astype(np.float32), (0, 0), 8)
    views = [clean + rng.normal(0, 0.002, clean.shape).astype(np.float32) for _ in range(2)]
    for view in views:
        cv2.circle(view, (30, 40), 3, 0.0, -1)
    spots = find_spots(*views)
    assert spots[38:43, 28:33].all() and not spots[:25].any() and not spots[:, 50:].any()
    filled = fill_spots(views[0], spots)
    assert np.abs(filled - clean).max() < 0.05
    np.testing.assert_array_equal(filled[~spots], views[0][~spots])


def test_a_scene_is_no_spot():
    noise = np.random.default_rng(2).uniform(0, 1, (2, 60, 80)).astype(np.float32)
    assert find_spots(noise[0], np.zeros_like(noise[0])) is None
    board = np.kron(np.indices((8, 10)).sum(axis=0) % 2, np.ones((8, 8))).astype(np.float32)
    assert find_spots(board, board) is None
