"""LP, CP and RP against the recipes written out plainly, and levels that can be worked out by hand."""

import numpy as np
import pytest

from two_stream_fusion.methods import cp, lp, rp

E = 1e-6
RECIPES = {
    "LP": (lp.fuse, lambda g, x: g - x, lambda d, x: x + d),
    "CP": (cp.fuse, lambda g, x: g / (x + E) - 1, lambda c, x: (x + E) * (c + 1)),
    "RP": (rp.fuse, lambda g, x: g / (x + E), lambda r, x: (x + E) * r),
}
recipes = pytest.mark.parametrize(("fuse", "split", "join"), RECIPES.values(), ids=RECIPES)


def filtered(plane):
    """The 5x5 kernel of the pyramid at every place, borders mirrored."""
    w = np.array([1, 4, 6, 4, 1]) / 16
    height, width = plane.shape
    rows, columns = (mirrored(np.arange(-2, size + 2), size) for size in plane.shape)
    padded = plane[np.ix_(rows, columns)]
    return sum(w[i] * w[j] * padded[i:, j:][:height, :width] for i in range(5) for j in range(5))


def mirrored(index, size):
    period = max(2 * (size - 1), 1)
    index = np.abs(index) % period
    return np.where(index < size, index, period - index)


def reduced(plane):
    return filtered(plane)[::2, ::2]


def expanded(plane):
    zeros = np.zeros([2 * size for size in plane.shape])
    zeros[::2, ::2] = plane
    return 4 * filtered(zeros)


def plain(a, b, split, join, levels):
    """The recipe of any of the three methods, on float planes."""
    if levels == 0 or min(a.shape) == 1:
        return (a + b) / 2
    height, width = a.shape
    rows, columns = (mirrored(np.arange(size + size % 2), size) for size in a.shape)
    a, b = a[np.ix_(rows, columns)], b[np.ix_(rows, columns)]
    da, db = (split(g, expanded(reduced(g))) for g in (a, b))
    detail = np.where(np.abs(da) > np.abs(db), da, db)
    below = plain(reduced(a), reduced(b), split, join, levels - 1)
    return join(detail, expanded(below))[:height, :width]


@recipes
@pytest.mark.parametrize("levels", [1, 4])
@pytest.mark.parametrize("size", [(64, 48), (45, 67), (3, 5), (2, 2), (2, 31), (17, 16)])
def test_the_recipe_written_out(fuse, split, join, size, levels):
    rng = np.random.default_rng(sum(size))
    a, b = rng.integers(0, 65535, (2, *size), np.uint16, endpoint=True)
    a[: size[0] // 2, : size[1] // 2] = 0
    expected = plain(a / 257, b / 257, split, join, levels) * 257
    fused = fuse(a, b, levels=levels)
    close = np.abs(fused - np.clip(expected, 0, 65535)) < 0.51
    assert close.mean() > 0.98  # where two details are equal but for rounding either may be taken
    assert close.mean() == 1 or min(size) > 3


def test_more_levels_than_the_image_has():
    a, b = np.random.default_rng(0).integers(0, 255, (2, 9, 14), np.uint8)
    for fuse in (lp.fuse, cp.fuse, rp.fuse):
        np.testing.assert_array_equal(fuse(a, b, levels=50), fuse(a, b, levels=4))


def test_one_point_by_hand():
    """v on black: (6/8 * 6/16 + 2 * 1/8 * 1/16)^2 = (19/64)^2 of it is what the coarser level predicts there.

    Half of that is left of the base; the detail v - v (19/64)^2 or the ratio (64/19)^2 is all a's.
    """
    a = np.zeros((17, 17), np.uint16)
    b = a.copy()
    a[8, 8] = 40960
    assert lp.fuse(a, b, levels=1)[8, 8] == 40960 - 3610 / 2
    assert cp.fuse(a, b, levels=1)[8, 8] == 40960 / 2
    assert rp.fuse(a, b, levels=1)[8, 8] == 40960 / 2


def test_ratio_takes_bright_detail_and_contrast_dark():
    """A dark point in one source, 100 everywhere else: the ratio loses it, the contrast keeps it."""
    a = np.full((32, 32), 100, np.uint8)
    a[16, 16] = 20
    b = np.full_like(a, 100)
    assert rp.fuse(a, b)[16, 16] >= 90
    assert cp.fuse(a, b)[16, 16] < 40
    assert lp.fuse(a, b)[16, 16] < 40


def test_base_of_one_source_alone():
    """Flat images have no detail: the base is all there is."""
    a, b = np.full((40, 40), 50, np.uint8), np.full((40, 40), 80, np.uint8)
    for fuse in (lp.fuse, cp.fuse, rp.fuse):
        values = [np.unique(fuse(a, b, base=base)).tolist() for base in ("average", "a", "b")]
        assert values == [[65], [50], [80]]
