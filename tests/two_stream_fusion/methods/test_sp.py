import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from two_stream_fusion.methods import sp


def image(seed, shape=(45, 61), dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def first(x, y):
    return x


def nothing(x, y):
    return 0 * x


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(2, 90),
    width=st.integers(2, 90),
    levels=st.integers(1, 7),
    orientations=st.integers(1, 8),
    margin=st.sampled_from([None, 0, 5]),
)
def test_without_selection_the_plane_comes_back(height, width, levels, orientations, margin):
    x, y = image(1, (height, width)) / 1.0, image(2, (height, width)) / 1.0
    back = sp.Pyramid((height, width), levels, orientations, margin).fuse(x, y, first, first)
    np.testing.assert_allclose(back, x, atol=1e-9 * 255)


@pytest.mark.parametrize("orientations", range(1, 9))
def test_squares_of_the_masks_sum_to_one(orientations):
    pyramid = sp.Pyramid((64, 80), 3, orientations)
    np.testing.assert_allclose(pyramid.high**2 + pyramid.low**2, 1, atol=1e-12)
    for size, bands, low in pyramid.levels:
        total = sum(band**2 for band in bands)
        total[sp._central_rows(size[0]), : low.shape[1]] += low**2
        np.testing.assert_allclose(total, 1, atol=1e-12)


def test_masks_are_the_formulas():
    """One frequency by hand: (0, pi/3), between pi/4 and pi/2, lies on the slope of the first octave."""
    pyramid = sp.Pyramid((96, 96), 1, 4, margin=0)
    (size, bands, low) = pyramid.levels[0]
    assert size == (96, 96) and pyramid.high[0, 16] == 0 and pyramid.low[0, 16] == 1
    slope = np.cos(np.pi / 2 * np.log2(2 / 3))
    assert low[0, 16] == pytest.approx(np.sqrt(1 - slope**2))
    # 2^6 3!^2 / (4 * 6!) = 0.8, and the angles to the bands are 0, 45, 90 and 135 degrees.
    for band, cosine in zip(bands, (1, np.sqrt(0.5), 0, -np.sqrt(0.5))):
        assert band[0, 16] == pytest.approx(slope * np.sqrt(0.8) * cosine**3, abs=1e-12)


def test_bands_hold_their_orientation():
    """A grating of vertical stripes lives in band 0 alone, where neighbouring ones are at right angles."""
    stripes = 100 * np.sin(2 * np.pi * np.arange(128) / 4) * np.ones((128, 1))
    energies = []

    def note(x, y):
        energies.append((x**2).mean())
        return x

    sp.Pyramid((128, 128), 2, 2, margin=0).fuse(stripes, stripes, note, first)
    high, *bands = energies
    assert high == pytest.approx(0, abs=1e-9)
    assert len(bands) == 4
    assert bands[0] == pytest.approx((stripes**2).mean())
    assert max(bands[1:]) < 1e-9


def test_low_pass_holds_the_mean_and_bands_do_not():
    x = image(0, (64, 64)) / 1.0
    pyramid = sp.Pyramid((64, 64), 3, 4, margin=0)
    assert pyramid.fuse(x, x, first, nothing).mean() == pytest.approx(0, abs=1e-9)
    smooth = pyramid.fuse(x, x, nothing, first)
    assert smooth.mean() == pytest.approx(x.mean())
    assert smooth.std() < 0.1 * x.std()


def test_the_sharper_of_two_is_kept():
    sharp = cv2.GaussianBlur(image(0, (128, 160)), (0, 0), 0.8)
    soft = cv2.GaussianBlur(sharp, (0, 0), 3)
    left = np.arange(160) < 80
    a, b = np.where(left, sharp, soft), np.where(left, soft, sharp)
    error = np.abs(sp.fuse(a, b).astype(int) - sharp).mean()
    assert error < 0.2 * min(np.abs(x.astype(int) - sharp).mean() for x in (a, b))


def test_rules_and_base_are_obeyed():
    a, b = image(1), image(2)
    results = [sp.fuse(a, b, rule=rule) for rule in ("max_abs", "area_max", "energy", "match")]
    for i, x in enumerate(results):
        assert all((x != y).any() for y in results[:i])
    bright, dark = np.full((40, 40), 200, np.uint8), np.full((40, 40), 100, np.uint8)
    levels = {base: sp.fuse(bright, dark, base=base) for base in ("average", "a", "b")}
    assert {base: set(x.ravel()) for base, x in levels.items()} == {"average": {150}, "a": {200}, "b": {100}}


@pytest.mark.parametrize(
    ("shape_a", "shape_b", "options", "words"),
    [
        ((1, 9), (1, 9), {}, "too small"),
        ((9, 9), (9, 8), {}, "differ"),
        ((9, 9), (9, 9), {"levels": 0}, "levels=0"),
        ((9, 9), (9, 9), {"levels": 1.5}, "levels=1.5"),
        ((9, 9), (9, 9), {"orientations": 9}, "orientations=9"),
        ((9, 9), (9, 9), {"margin": -1}, "margin=-1"),
        ((9, 9), (9, 9), {"margin": 10**6}, "margin=1000000"),
        ((9, 9), (9, 9), {"margin": (1, 2)}, r"margin=\(1, 2\)"),
        ((9, 9), (9, 9), {"margin": float("inf")}, "margin=inf"),
        ((9, 9), (9, 9), {"rule": "least"}, "unknown rule 'least'"),
        ((9, 9), (9, 9), {"base": "c"}, "unknown base 'c'"),
        ((9, 9, 3), (9, 9, 3), {"colour": "lab"}, "unknown colour 'lab'"),
    ],
)
def test_what_cannot_be_fused_is_refused(shape_a, shape_b, options, words):
    with pytest.raises(ValueError, match=words):
        sp.fuse(image(0, shape_a), image(1, shape_b), **options)
