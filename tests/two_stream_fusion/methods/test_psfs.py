import cv2
import numpy as np
import pytest

from two_stream_fusion.base import lens
from two_stream_fusion.methods import psfs, registry


def fuse(*images, **options):
    return registry.fuse("psfs", images, **options).image


def image(seed, shape=(45, 61), dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def pair(sigma_f, sigma_g, noise=0.0, size=200):
    """A texture of sd 50, a disc, and the pair that shows the disc sharp (A), and what is around it (B)."""
    rng = np.random.default_rng(1)
    scene = cv2.GaussianBlur(rng.normal(0, 1, (size, size)), (0, 0), 1)
    scene = scene / scene.std() * 50 + 128
    y, x = np.ogrid[:size, :size]
    disc = np.hypot(y - size / 2, x - size / 2) < size / 3
    a = np.where(disc, scene, cv2.GaussianBlur(scene, (0, 0), sigma_g)) + rng.normal(0, noise, scene.shape)
    b = np.where(disc, cv2.GaussianBlur(scene, (0, 0), sigma_f), scene) + rng.normal(0, noise, scene.shape)
    a, b = (np.clip(np.rint(v), 0, 255).astype(np.uint8) for v in (a, b))
    variance = cv2.blur(scene**2, (7, 7)) - cv2.blur(scene, (7, 7)) ** 2
    return a, b, disc, variance > 25


@pytest.mark.parametrize("search", ["grid", "evolution"])
@pytest.mark.parametrize(("f", "g", "noise"), [(1, 1, 0), (2, 3, 0), (4, 2, 2), (1, 4, 2)])
def test_known_sigmas_are_recovered(f, g, noise, search):
    a, b, _, _ = pair(f, g, noise)
    estimates = psfs.estimate(a, b, search=search)
    assert estimates.f == pytest.approx(f, rel=0.1)
    assert estimates.g == pytest.approx(g, rel=0.1)
    assert not estimates.at_bound


def test_the_grid_is_golden():
    """A pair whose blur is in the grid starts there; one beyond the ends starts at them."""
    grid = (0.5, 1, 1.5, 2, 3, 4, 5, 6)
    starts = {0.3: 0.5, **{sigma: sigma for sigma in grid[1:]}, 7.5: 6}
    for sigma, start in starts.items():
        a, b = (image.astype(np.float32) for image in pair(sigma, sigma)[:2])
        assert psfs._best_of_grid(a, b, "gaussian") == (start, start)
    for sigma in (2.5, 3.5, 4.5):
        a, b = (image.astype(np.float32) for image in pair(sigma, sigma)[:2])
        assert set(psfs._best_of_grid(a, b, "gaussian")) <= set(grid)


def test_colour_and_depth_do_not_change_the_estimate():
    a, b, _, _ = pair(2, 3)
    estimates = psfs.estimate(a, b)
    colour = psfs.estimate(*(np.dstack([x] * 3) for x in (a, b)))
    deep = psfs.estimate(*(x.astype(np.uint16) * 257 for x in (a, b)))
    np.testing.assert_allclose(colour, estimates, atol=0.02)
    np.testing.assert_allclose(deep, estimates, atol=0.02)


@pytest.mark.parametrize(("window", "noise", "share"), [(7, 0, 0.99), (7, 2, 0.99), (1, 2, 0.90)])
def test_map_is_the_mask(window, noise, share):
    a, b, disc, textured = pair(2, 3, noise)
    assert (psfs.decide(a, b, window=window)["decision"] == disc)[textured].mean() > share


def test_map_follows_the_definition():
    """Pixel by pixel, from kernels and windows written out."""
    a, b = image(1, (24, 30)), image(2, (24, 30))
    sigmas, window = (1.3, 0.7), 3

    def blur(x, sigma):
        reach = int(np.ceil(4 * sigma))
        kernel = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
        return smooth(x, np.outer(kernel, kernel) / kernel.sum() ** 2)

    def smooth(x, kernel):
        reach = len(kernel) // 2
        padded = np.pad(x.astype(float), reach, "reflect")
        height, width = x.shape
        return sum(kernel[i, j] * padded[i : i + height, j : j + width] for i, j in np.ndindex(kernel.shape))

    of_a, of_b = np.abs(blur(a, sigmas[0]) - b), np.abs(blur(b, sigmas[1]) - a)
    plain = psfs.decide(a, b, window=1, sigmas=sigmas)["decision"]
    np.testing.assert_array_equal(plain, of_a <= of_b)
    ones = np.full((window, window), 1 / window**2)
    votes = smooth(of_a, ones) <= smooth(of_b, ones)
    expected = smooth(votes, ones) > 0.5
    np.testing.assert_array_equal(psfs.decide(a, b, window=window, sigmas=sigmas)["decision"], expected)


def test_small_regions_go_to_what_surrounds_them():
    a, b, disc, _ = pair(2, 3, 2)
    plain = psfs.decide(a, b, window=1)["decision"]
    assert 0.5 < (plain == disc).mean() < 0.99
    assert (psfs.decide(a, b, window=1, area=0.01)["decision"] == disc).mean() > (plain == disc).mean() + 0.01
    assert (psfs.decide(a, b, area=0.01)["decision"] == disc).mean() > 0.97


def test_every_pixel_is_of_a_source_as_the_map_says():
    a, b = image(1, (40, 50, 3)), image(2, (40, 50, 3))
    fused, from_a = fuse(a, b), psfs.decide(a, b)["decision"]
    np.testing.assert_array_equal(fused[from_a], a[from_a])
    np.testing.assert_array_equal(fused[~from_a], b[~from_a])
    assert 0 < from_a.mean() < 1


def test_a_disc_is_found_by_the_disc_kernel():
    scene = cv2.GaussianBlur(image(0, (160, 160)), (0, 0), 0.8).astype(np.float32)
    soft = lens.disc(scene, 5)
    left = np.arange(160) < 80
    a, b = (np.rint(np.where(s, scene, soft)).astype(np.uint8) for s in (left, ~left))
    np.testing.assert_allclose(psfs.estimate(a, b, psf="disc"), 2.5, rtol=0.1)


def test_one_image_sharp_all_over_is_taken():
    sharp = cv2.GaussianBlur(image(0, (160, 160)), (0, 0), 0.8)
    soft = cv2.GaussianBlur(sharp, (0, 0), 2)
    assert psfs.decide(sharp, soft)["decision"].mean() > 0.98
    assert psfs.estimate(sharp, sharp).at_bound


@pytest.mark.parametrize(
    ("shape_a", "shape_b", "options", "words"),
    [
        ((1, 9), (1, 9), {}, "too small"),
        ((9, 9), (9, 8), {}, "differ"),
        ((9, 9), (9, 9), {"window": 4}, "window=4"),
        ((9, 9), (9, 9), {"window": -1}, "window=-1"),
        ((9, 9), (9, 9), {"area": 0.5}, "area=0.5"),
        ((9, 9), (9, 9), {"psf": "box"}, "unknown psf 'box'"),
        ((9, 9), (9, 9), {"search": "luck"}, "unknown search 'luck'"),
        ((9, 9), (9, 9), {"window": 10**10 + 1}, "window=10000000001"),
        ((9, 9), (9, 9), {"sigmas": (1, 0)}, r"sigmas=\(1, 0\)"),
        ((9, 9), (9, 9), {"sigmas": (float("nan"), 1)}, r"sigmas=\(nan"),
        ((9, 9), (9, 9), {"sigmas": 2.0}, "sigmas=2.0: two"),
    ],
)
def test_what_cannot_be_fused_is_refused(shape_a, shape_b, options, words):
    with pytest.raises(ValueError, match=words):
        fuse(image(0, shape_a), image(1, shape_b), **options)


@pytest.mark.parametrize(
    ("sigmas", "at_bound"), [((0.205, 1), True), ((0.22, 1), False), ((1, 7.995), True), ((1, 7.9), False)]
)
def test_sigmas_range_from_a_fifth_to_eight(sigmas, at_bound):
    assert psfs.Sigmas(*sigmas).at_bound is at_bound
