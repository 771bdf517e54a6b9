"""How the two photographs of a pair are blurred."""

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from data_prep import recipes
from data_prep.pair_patches import channels


@pytest.fixture
def clean():
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def test_paper_recipe_blurs_the_object_in_a_and_the_rest_in_b(clean):
    region = np.zeros((90, 120), bool)
    region[20:70, 30:90] = True
    a, b, label = recipes.blur_paper(clean, region, np.random.default_rng(3))
    sigma = np.random.default_rng(3).uniform(2, 10)
    blurred = np.dstack(
        [
            ndimage.gaussian_filter(clean[..., c].astype(float), sigma, mode="mirror", truncate=4)
            for c in range(3)
        ]
    )
    assert np.array_equal(label, clean)
    assert np.array_equal(a[~region], clean[~region]) and np.array_equal(b[region], clean[region])
    # OpenCV cuts the kernel at 4 sigmas too, give or take its rounding to a whole number of pixels.
    assert np.abs(a[region] - blurred[region]).max() < 1
    assert np.abs(b[~region] - blurred[~region]).max() < 1
    assert all(image.dtype == np.uint8 for image in (a, b, label))


@pytest.fixture
def scene():
    """A photograph with texture of all sizes, and the object's region: (clean, region)."""
    noise = np.random.default_rng(1).normal(0, 60, (120, 160, 3))
    clean = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (1, 3, 9)) + 128
    region = np.zeros((120, 160), bool)
    region[30:90, 40:120] = True
    return np.clip(np.rint(clean), 0, 255).astype(np.uint8), region


@pytest.mark.parametrize("recipe", sorted(recipes.RECIPES))
def test_a_recipe_keeps_its_inputs_and_repeats_itself(recipe, scene):
    clean, region = scene
    before = clean.copy(), region.copy()
    for seed in range(10):
        triples = [recipes.RECIPES[recipe](clean, region, np.random.default_rng(seed)) for _ in range(2)]
        assert all(np.array_equal(x, y) for x, y in zip(*triples))
        assert all(x.shape == clean.shape and x.dtype == np.uint8 for x in triples[0])
    assert np.array_equal(clean, before[0]) and np.array_equal(region, before[1])


@pytest.mark.parametrize(
    ("asked", "gaussian", "disc"), [(0.4, 0.28, 0.52), (0.5, 0.46, 0.63), (1, 1.00, 1.08), (2, 2.00, 2.03)]
)
def test_the_spread_of_small_blurs_is_as_stated(asked, gaussian, disc):
    point, offset = np.zeros((41, 41), np.float32), np.arange(-20, 21)
    point[20, 20] = 1
    for shape, spread in (("gaussian", gaussian), ("disc", disc)):
        profile = recipes._blur(point, shape, asked).sum(axis=0)
        assert (profile @ offset**2) ** 0.5 == pytest.approx(spread, abs=0.005)


def test_the_luma_of_handheld_noise_is_as_stated():
    flat = np.full((200, 200, 3), 128, np.uint8)
    noisy = recipes.capture(flat, 4.0, None, None, np.random.default_rng(0))
    assert noisy.std(axis=(0, 1)) == pytest.approx([4.0] * 3, rel=0.02)
    luma = channels(noisy)[3]
    assert luma.std() == pytest.approx(0.67 * 4.0, rel=0.02)
    np.testing.assert_array_equal(channels(noisy, gray=True), [luma] * 4)


def test_handheld_photographs_hold_what_the_label_asks_for(scene, monkeypatch):
    """Where the object is, label is what b shows, its noise and place too; elsewhere what a shows."""
    monkeypatch.setattr(recipes, "_maybe_random_region", lambda region, rng: region)
    clean, region = scene
    inside = cv2.erode(region.astype(np.uint8), np.ones((25, 25))) > 0
    outside = cv2.dilate(region.astype(np.uint8), np.ones((25, 25))) == 0
    changed = 0
    for seed in range(40):
        a, b, label = (
            x.astype(int) for x in recipes.blur_handheld(clean, region, np.random.default_rng(seed))
        )
        assert np.abs(label - b)[inside].max() <= 1 and np.abs(label - a)[outside].max() <= 1
        if (a != b).any():
            assert np.abs(label - a)[inside].mean() > 1.5 * np.abs(label - b)[inside].mean()
        changed += (label != clean).any()
    assert 25 <= changed < 40  # some have neither noise nor JPEG and are in register


def test_handheld_photographs_are_a_little_out_of_register():
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0, 1], [479, 0, 1], [0, 319, 1], [479, 319, 1]])
    moves = [
        np.abs(corners @ recipes._random_motion((320, 480, 3), rng).T - corners[:, :2]).max()
        for _ in range(200)
    ]
    assert 1 < max(moves) < 0.7 + 0.003 * 240 + 0.01


@pytest.mark.parametrize("recipe", ["paper", "defocus"])
def test_blur_of_one_colour_changes_nothing(recipe):
    """However sharp and blurred are put together, by masks hard or soft, in layers or not."""
    photograph = np.full((60, 90, 3), (200, 30, 90), np.uint8)
    region = np.zeros((60, 90), bool)
    region[20:40, 30:70] = True
    for seed in range(20):
        for image in recipes.RECIPES[recipe](photograph, region, np.random.default_rng(seed)):
            assert np.abs(image.astype(int) - photograph).max() <= 1


def test_a_scene_of_one_layer_is_sharp_in_one_photograph():
    rng = np.random.default_rng(0)
    photograph = rng.integers(0, 256, (40, 50, 3), np.uint8)
    blurs = (("gaussian", 2), ("disc", 3))
    everything = np.ones((40, 50), bool)
    for near, sharp in ((everything, 1), (~everything, 0)):
        pair = recipes.blur_layers(photograph, near, blurs)
        assert (pair[sharp] == photograph).all() and (pair[1 - sharp] != photograph).any()


def test_blur_rounds_instead_of_cutting_off():
    flat = np.full((20, 20, 3), (0, 100, 255), np.uint8)
    assert np.array_equal(recipes.blur_gaussian(flat, 3.3), flat)


@given(st.integers(0, 2**32))
def test_other_colours_are_the_channels_weakened(seed):
    """In another order; one as it is, none weaker than an eighth; in half the draws all as they are."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    recoloured = recipes.recolour(image, rng)
    assert recoloured.dtype == np.uint8 and recoloured.shape == image.shape
    orders = [list(order) for order in itertools.permutations(range(3))]
    fits = []
    for order in orders:
        share = (recoloured * 1.0).sum((0, 1)) / image[..., order].sum((0, 1))
        exact = np.abs(recoloured - share * image[..., order]).max() < 1.6
        fits.append(exact and share.max() == 1 and share.min() > 0.1)
    assert any(fits)


def pattern():
    """A photograph and a region by whole-number arithmetic: (48 x 64 x 3 uint8, 48 x 64 bool)."""
    i, j = np.indices((48, 64))
    planes = [(i * j // 8 + 37 * (i // 16) + k * j * j // 11) % 256 for k in (1, 2, 3)]
    region = np.zeros((48, 64), bool)
    region[12:36, 16:48] = True
    return np.stack(planes, -1).astype(np.uint8), region


@pytest.mark.parametrize(
    ("recipe", "sharp", "a", "b", "label"),
    [
        ("paper", 0, 13.5889, 31.0571, 0.0),
        ("defocus", 29, 6.2497, 13.9797, 0.0),
        ("handheld", 5, 12.3779, 19.3344, 8.5335),
        ("photographs", 5, 50.3180, 52.3424, 48.6869),
    ],
)
def test_recipes_differ_from_the_photograph_as_before(recipe, sharp, a, b, label):
    """Golden, of 150 seeds: how often a is the photograph, and mean differences of all from it."""
    clean, region = pattern()
    triples = [recipes.RECIPES[recipe](clean, region, np.random.default_rng(seed)) for seed in range(150)]
    errors = np.array([[np.abs(x.astype(int) - clean).mean() for x in images] for images in triples])
    assert (errors[:, 0] == 0).sum() == sharp
    assert errors.mean(0) == pytest.approx([a, b, label], abs=0.002)


def test_recolouring_is_as_before():
    """Golden, of 60 seeds: in how many nothing changes, and the mean level."""
    clean, _ = pattern()
    recoloured = [recipes.recolour(clean, np.random.default_rng(seed)) for seed in range(60)]
    assert sum(image is clean for image in recoloured) == 26
    assert np.mean(recoloured) == pytest.approx(91.6116, abs=0.01)


def test_darkened_and_low_ranges_keep_order_and_stay_in_range():
    """A straight line of the levels each; dark ones begin at 0, none ends beyond 255."""
    ramp = np.dstack([np.arange(256, dtype=np.uint8).reshape(16, 16)] * 3)
    kinds = {"same": 0, "dark": 0, "low range": 0}
    for seed in range(300):
        reduced = recipes.reduce_range(ramp, np.random.default_rng(seed))
        levels = reduced[..., 0].ravel().astype(int)
        line = np.linspace(levels[0], levels[-1], 256)
        assert np.abs(levels - line).max() <= 1 and levels[-1] - levels[0] >= 255 * recipes.LEAST_RANGE - 1
        kind = "same" if reduced is ramp else "dark" if levels[0] == 0 else "low range"
        kinds[kind] += 1
    shares = recipes.DARK_SHARE, recipes.LOW_RANGE_SHARE
    assert kinds["dark"] / 300 == pytest.approx(shares[0], abs=0.05)
    assert kinds["low range"] / 300 == pytest.approx(shares[1], abs=0.05)


def test_shares_of_photographs_are_as_stated(monkeypatch):
    """How many captures have noise, JPEG and motion, of pairs that are not two equal photographs."""
    captures = []

    def capture(image, noise, quality, motion, rng):
        captures.append([noise is not None, quality is not None, motion is not None])
        return image

    monkeypatch.setattr(recipes, "capture", capture)
    monkeypatch.setattr(recipes, "_defocus_pair", lambda clean, region, rng: (clean, clean.copy()))
    clean, region = (image[:8, :8] for image in pattern())
    for seed in range(600):
        recipes.blur_photographs(clean, region, np.random.default_rng(seed))
    shares = np.mean(captures, axis=0) * [1, 1, 2]  # b alone moves
    expected = [recipes.NOISY_SHARE, recipes.JPEG_SHARE, recipes.MOVED_SHARE]
    np.testing.assert_allclose(shares, expected, atol=0.04)
