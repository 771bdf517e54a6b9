import cv2
import numpy as np
import pytest

from two_stream_fusion.methods import gf, registry


def fuse(*images, **options):
    return registry.fuse("gf", images, **options).image


def image(seed, shape=(45, 61), dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def halves(size=160):
    """A texture, and the pair that shows its left or its right half sharp."""
    sharp = cv2.GaussianBlur(image(0, (size, size)), (0, 0), 0.7)
    soft = cv2.GaussianBlur(sharp, (0, 0), 3)
    left = np.arange(size) < size // 2
    return sharp, np.where(left, sharp, soft), np.where(left, soft, sharp)


def window_mean(x, radius, mode=None):
    """The mean over a window pixel by pixel: cut at the border, or np.pad's mode instead."""
    if mode:
        x = np.pad(x, radius, mode)
    at = [(i, j) for i, j in np.ndindex(x.shape)]
    means = [
        x[max(0, i - radius) : i + radius + 1, max(0, j - radius) : j + radius + 1].mean() for i, j in at
    ]
    means = np.array(means).reshape(x.shape)
    return means[radius:-radius, radius:-radius] if mode else means


def plain_guided_filter(guide, values, radius, eps):
    mean_guide, mean_values = window_mean(guide, radius), window_mean(values, radius)
    covariance = window_mean(guide * values, radius) - mean_guide * mean_values
    slope = covariance / (window_mean(guide**2, radius) - mean_guide**2 + eps)
    return window_mean(slope, radius) * guide + window_mean(mean_values - slope * mean_guide, radius)


def plain_fuse(*images):
    """The recipe for gray uint8 images, word by word."""
    guides = [x / 255 for x in images]
    kernel = np.exp(-(np.arange(-5, 6) ** 2) / 50)
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    saliency = []
    for guide in guides:
        p = np.pad(guide, 1, "edge")
        edges = np.abs(p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * guide)
        p, (height, width) = np.pad(edges, 5, "edge"), edges.shape
        saliency.append(sum(k * p[y : y + height, x : x + width] for (y, x), k in np.ndenumerate(kernel)))
    winner = np.argmax(saliency, 0)
    fused = 0
    for radius, eps, layer in ((45, 0.3, "base"), (7, 1e-6, "detail")):
        smooth = [plain_guided_filter(g, winner == i, radius, eps) for i, g in enumerate(guides)]
        smooth = [np.floor(np.clip(w, 0, 1) * 255 + 0.5) / 255 + 1e-12 for w in smooth]
        for guide, weight in zip(guides, smooth):
            base = window_mean(guide, 15, "edge")
            part = base if layer == "base" else guide - base
            fused = fused + part * weight / sum(smooth)
    return np.clip(np.floor(fused * 255 + 0.5), 0, 255).astype(np.uint8)


def test_guided_filter_of_a_constant_guide_is_two_window_means():
    values = np.random.default_rng(0).random((20, 9))
    expected = window_mean(window_mean(values, 3), 3)
    np.testing.assert_allclose(gf.guided_filter(np.full((20, 9), 0.4), values, 3, 1e-6), expected, atol=1e-12)


def test_guided_filter_keeps_what_the_guide_explains():
    guide = np.random.default_rng(1).random((30, 31))
    np.testing.assert_allclose(
        gf.guided_filter(guide, 0.2 + 0.5 * guide, 4, 1e-9), 0.2 + 0.5 * guide, atol=1e-6
    )


@pytest.mark.parametrize("count", [2, 3])
def test_exact(count):
    pictures = [cv2.GaussianBlur(image(i, (40, 53)), (0, 0), 0.5 + i) for i in range(count)]
    difference = np.abs(fuse(*pictures).astype(int) - plain_fuse(*pictures))
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.99


def test_a_window_that_holds_all_is_as_good_as_any_wider():
    guide, values = np.random.default_rng(2).random((2, 9, 20))
    widest = gf.guided_filter(guide, values, 20, 0.1)
    np.testing.assert_array_equal(gf.guided_filter(guide, values, 3 * 10**9, 0.1), widest)
    np.testing.assert_allclose(widest, plain_guided_filter(guide, values, 20, 0.1), atol=1e-12)


def test_sharp_halves_are_found():
    sharp, a, b = halves()
    fused = fuse(a, b).astype(float)
    decided = gf.decide(a, b)
    of_a, of_b = decided["detail_1"], decided["detail_2"]
    assert of_a[:, :60].mean() > 0.95 and of_b[:, 100:].mean() > 0.95
    away = np.abs(np.arange(160) - 80) > 20
    assert np.abs(fused - sharp)[:, away].mean() < 1 < np.abs(a - fused)[:, away].mean()


def test_more_images_are_fused_at_once():
    sharp = cv2.GaussianBlur(image(0, (90, 150, 3)), (0, 0), 0.7)
    soft = cv2.GaussianBlur(sharp, (0, 0), 3)
    sources = [soft.copy() for _ in range(3)]
    for i in range(3):
        sources[i][:, 50 * i : 50 * i + 50] = sharp[:, 50 * i : 50 * i + 50]
    decided = gf.decide(*sources)
    assert sorted(decided) == [f"{layer}_{i}" for layer in ("base", "detail") for i in (1, 2, 3)]
    for i in range(3):
        assert decided[f"detail_{i + 1}"][:, 50 * i + 12 : 50 * i + 38].mean() > 0.9
    error = np.abs(fuse(*sources).astype(int) - sharp)
    assert error.mean() < 0.3 * min(np.abs(x.astype(int) - sharp).mean() for x in sources)


def test_equal_saliency_goes_to_the_first():
    a, b = np.full((20, 20), 10, np.uint8), np.full((20, 20), 90, np.uint8)
    assert (fuse(a, b) == 10).all() and (fuse(b, a) == 90).all()


@pytest.mark.parametrize("quantise", [True, False])
def test_weights_sum_to_one(quantise):
    a, b = image(1), image(2)
    decided = gf.decide(a, b, quantise=quantise)
    for layer in ("base", "detail"):
        maps = [decided[f"{layer}_{i}"] for i in (1, 2)]
        assert min(m.min() for m in maps) >= 0
        np.testing.assert_allclose(sum(maps), 1, atol=1e-9)
    unlike = fuse(a, b, quantise=True).astype(int) - fuse(a, b, quantise=False)
    assert 0 < np.abs(unlike).max() <= 1


def test_deep_images_give_the_same_picture():
    a, b = image(1), image(2)
    deep = fuse(a.astype(np.uint16) * 257, b.astype(np.uint16) * 257)
    assert np.abs(deep / 257 - fuse(a, b)).max() <= 1


@pytest.mark.parametrize(
    ("sources", "options", "words"),
    [
        ([(1, 9), (1, 9)], {}, "too small"),
        ([(9, 9), (9, 8)], {}, "differ"),
        ([(9, 9), (9, 9), (9, 9, 3)], {}, "differ"),
        ([(9, 9), (9, 9)], {"r1": 0}, "r1=0"),
        ([(9, 9), (9, 9)], {"r2": 2.5}, "r2=2.5"),
        ([(9, 9), (9, 9)], {"eps2": 0}, "eps2=0"),
        ([(9, 9), (9, 9)], {"eps1": float("nan")}, "eps1=nan"),
    ],
)
def test_what_cannot_be_fused_is_refused(sources, options, words):
    with pytest.raises(ValueError, match=words):
        fuse(*(image(0, shape) for shape in sources), **options)


def test_the_base_is_the_mean_of_31_by_31_pixels():
    square = np.zeros((99, 99), np.uint8)
    square[34:65, 34:65] = 255
    one, zero = np.ones(square.shape), np.zeros(square.shape)
    decision = {"base_1": one, "base_2": zero, "detail_1": zero, "detail_2": zero}
    overlap = np.maximum(0, 31 - np.abs(np.arange(99) - 49)) / 31
    expected = np.floor(255 * np.outer(overlap, overlap) + 0.5)
    np.testing.assert_allclose(gf.apply([square, square], decision), expected, atol=1)
