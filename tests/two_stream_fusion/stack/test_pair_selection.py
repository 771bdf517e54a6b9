"""stack/pair_selection.py: the decision from the reconstruction."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from two_stream_fusion.base import tiles
from two_stream_fusion.stack import pair_selection


def scene(shape=(60, 80), dtype=np.uint8, seed=0):
    """A photograph, and two copies of it each spoiled on one half: (a, b, truth)."""
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    truth = rng.integers(top // 4, top // 2, shape, dtype=dtype)
    a, b = truth.copy(), truth.copy()
    a[:, : shape[1] // 2] //= 2
    b[:, shape[1] // 2 :] //= 2
    return a, b, truth


@pytest.mark.parametrize("shape", [(60, 80), (60, 80, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_true_half_of_each_is_taken(shape, dtype):
    a, b, truth = scene(shape, dtype)
    before = [x.copy() for x in (a, b, truth)]
    refined, choice = pair_selection.select_pixels(a, b, truth, detail_sigma=0, seam_sigma=0, wide_sigma=0)
    assert np.array_equal(refined, truth) and refined.dtype == dtype
    assert not choice[:, 40:].any() and choice[:, :40].all() and choice.dtype == bool
    assert all(np.array_equal(x, y) for x, y in zip((a, b, truth), before))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_net_that_is_off_everywhere_still_decides(dtype):
    """Off in brightness by a fifth and in every pixel by noise; outlines keep within two pixels."""
    a, b, truth = scene((60, 80, 3), dtype)
    noise = np.random.default_rng(1).normal(0, np.iinfo(dtype).max / 30, truth.shape)
    refined, _ = pair_selection.select_pixels(
        a, b, (1.2 * truth + noise).astype(dtype), seam_sigma=0, wide_sigma=0
    )
    assert (refined == truth)[:, list(range(38)) + list(range(42, 80))].all()


def test_it_is_the_same_in_eight_and_sixteen_bits():
    rng = np.random.default_rng(4)
    a, b, fused = rng.integers(0, 256, (3, 50, 60, 3), dtype=np.uint8)
    _, narrow = pair_selection.select_pixels(a, b, fused)
    _, wide = pair_selection.select_pixels(*(x.astype(np.uint16) * 257 for x in (a, b, fused)))
    assert narrow.any() and not narrow.all() and np.array_equal(narrow, wide)


def test_tiles_do_not_show(monkeypatch):
    rng = np.random.default_rng(6)
    a, b, fused = rng.integers(0, 256, (3, 150, 170, 3), dtype=np.uint8)
    refined, _ = pair_selection.select_pixels(a, b, fused)
    monkeypatch.setattr(tiles, "TILE", 40)
    np.testing.assert_array_equal(pair_selection.select_pixels(a, b, fused)[0], refined)


def test_where_photographs_hardly_differ_neighbours_decide():
    """A plain with noise of its own in each, around it what is sharp in the first: no islands are left."""
    rng = np.random.default_rng(5)
    plain = np.zeros((90, 120), bool)
    plain[20:70, 20:100] = True
    texture = rng.integers(60, 200, plain.shape)
    sharp = np.where(plain, 128, texture)
    blurred = np.where(plain, 128, cv2.GaussianBlur(texture.astype(np.float32), (0, 0), 3))
    a, b = (np.rint(x + rng.normal(0, 2, plain.shape)).astype(np.uint8) for x in (sharp, blurred))
    fused = np.where(plain, (a.astype(int) + b) // 2, a).astype(np.uint8)
    assert pair_selection.select_pixels(a, b, fused, boundary_cost=0)[1][plain].mean() > 0.2
    assert not pair_selection.select_pixels(a, b, fused)[1].any()


def test_the_seam_mixes_the_outline_alone():
    a, b, truth = scene()
    refined, _ = pair_selection.select_pixels(a, b, truth, seam_sigma=0.7, wide_sigma=0)
    own = (refined == a) | (refined == b)
    assert own[:, :36].all() and own[:, 44:].all() and not own[:, 39:41].all()
    assert (refined >= np.minimum(a, b)).all() and (refined <= np.maximum(a, b)).all()


def test_equal_images_come_back_and_the_first_is_chosen():
    image = np.random.default_rng(2).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    refined, from_b = pair_selection.select_pixels(image, image, np.zeros_like(image))
    assert np.array_equal(refined, image) and not from_b.any()


@pytest.mark.parametrize(
    ("textured", "step", "wide"), [(False, 10, True), (True, 10, False), (False, 1, False)]
)
def test_seams_are_wide_where_a_line_would_show(textured, step, wide):
    """Two shades: between them a slope; but where there is texture, or hardly a step, it stays as it is."""
    blocks = np.random.default_rng(3).integers(0, 100 if textured else 1, (20, 20), dtype=np.uint8)
    detail = blocks.repeat(4, axis=0).repeat(4, axis=1)
    a, b = detail + 100, detail + (100 + step)
    truth = np.where(np.arange(80) < 40, a, b).astype(np.uint8)
    refined, _ = pair_selection.select_pixels(a, b, truth, detail_sigma=0)
    across = (refined.astype(int) - detail)[40]
    assert across[10] == 100 and across[70] == 100 + step
    mixed = ((across > 100) & (across < 100 + step)).sum()
    assert mixed > 12 if wide else mixed <= 4
    assert step == 1 or (np.diff(across).max() <= 1) == wide


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 2**32), st.sampled_from([0, 1, 12, 1e3]))
def test_every_pixel_lies_between_the_images(height, width, seed, boundary_cost):
    rng = np.random.default_rng(seed)
    a, b, fused = rng.integers(0, 256, (3, height, width), dtype=np.uint8)
    refined, _ = pair_selection.select_pixels(a, b, fused, boundary_cost=boundary_cost)
    assert refined.shape == (height, width)
    assert (refined >= np.minimum(a, b)).all() and (refined <= np.maximum(a, b)).all()


@pytest.mark.parametrize(
    "bad",
    [
        {"boundary_cost": -1},
        {"detail_sigma": -0.1},
        {"min_area": 1},
        {"min_area": -0.1},
        {"seam_sigma": -1},
        {"wide_sigma": -1},
        {"min_area": float("nan")},
        {"seam_sigma": float("nan")},
    ],
)
def test_options_out_of_range_are_named(bad):
    image = np.zeros((9, 9), np.uint8)
    with pytest.raises(ValueError, match=next(iter(bad))):
        pair_selection.select_pixels(image, image, image, **bad)


def test_images_that_differ_are_refused():
    with pytest.raises(ValueError, match="differ"):
        pair_selection.select_pixels(
            np.zeros((9, 9), np.uint8), np.zeros((9, 8), np.uint8), np.zeros((9, 9), np.uint8)
        )


def seam_share(slope, step):
    """How much of b is mixed in beside a seam, 1 to 10 pixels from it, 0 to 1.

    a and b are the same 16 bit ramp up and down of a slope in levels of 255 a pixel, b brighter by a step.
    """
    x = np.arange(160)
    ramp = np.tile(60 + slope * np.abs(x % 80 - 40), (120, 1))
    a, b = (np.rint((ramp + more) * 257).astype(np.uint16) for more in (0, step))
    refined, _ = pair_selection.select_pixels(a, b, np.where(x < 80, a, b), detail_sigma=0)
    return ((refined.astype(float) - a) / 257 / step)[60, 70:80].mean()


def test_golden_widths_of_seams():
    """SLOPE and STEP decide them: 16 and 1. With 14, 18, 0.8 and 1.2 it is 0.110, 0.132, 0.200 and 0.060."""
    assert seam_share(10, 10) == pytest.approx(0.1223, abs=0.002)
    assert seam_share(0, 1.5) == pytest.approx(0.1162, abs=0.002)
    assert seam_share(0, 10) == pytest.approx(0.2271, abs=0.002)
