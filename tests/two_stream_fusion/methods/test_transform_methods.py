"""What LP, CP, RP and DWT have in common."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from two_stream_fusion.methods import cp, dwt, lp, rp

METHODS = {"LP": lp, "CP": cp, "RP": rp, "DWT": dwt}
methods = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def random_image(size, colour=False, dtype=np.uint8, seed=0):
    shape = (*size, 3) if colour else size
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def difference(x, y):
    return np.abs(x.astype(int) - y.astype(int)).max()


@methods
@settings(deadline=None, max_examples=40)
@given(
    size=st.tuples(st.integers(2, 70), st.integers(2, 70)),
    colour=st.booleans(),
    dtype=st.sampled_from([np.uint8, np.uint16]),
    levels=st.integers(1, 7),
    rule=st.sampled_from(["max_abs", "area_max", "energy", "match"]),
    window=st.sampled_from([1, 3, 5]),
    seed=st.integers(0, 99),
)
def test_any_image_fused_with_itself_is_itself(method, size, colour, dtype, levels, rule, window, seed):
    image = random_image(size, colour, dtype, seed)
    fused = method.fuse(image, image, levels=levels, rule=rule, window=window)
    assert fused.shape == image.shape
    assert fused.dtype == image.dtype
    assert difference(fused, image) <= 1


@methods
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("size", [(2, 2), (2, 50), (33, 1 + 16 * 5), (37, 64)])
def test_two_images(method, size, colour):
    a, b = random_image(size, colour), random_image(size, colour, seed=1)
    before = a.copy(), b.copy()
    a.flags.writeable = b.flags.writeable = False
    fused = method.fuse(a, b)
    assert fused.shape == a.shape
    assert fused.dtype == np.uint8
    np.testing.assert_array_equal([a, b], before)
    # A view with other strides, such as OpenCV's BGR turned round, gives the same.
    np.testing.assert_array_equal(method.fuse(a[::-1, ::-1][::-1, ::-1], np.asfortranarray(b)), fused)


@methods
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("levels", [(0, 0), (255, 255), (1, 255), (0, 255), (90, 110)])
def test_constant_images_give_their_average(method, levels, colour):
    shape = (21, 34, 3) if colour else (21, 34)
    a, b = (np.full(shape, level, np.uint8) for level in levels)
    expected = (sum(levels) + 1) // 2
    if method is cp and levels == (0, 255):
        expected = 0  # as its docstring says: black has contrast -1, white has 0
    assert np.unique(method.fuse(a, b)).tolist() == [expected]


@methods
def test_channels_are_fused_each_by_itself(method):
    a, b = random_image((40, 31), True), random_image((40, 31), True, seed=1)
    planes = [method.fuse(a[..., c], b[..., c]) for c in range(3)]
    np.testing.assert_array_equal(method.fuse(a, b), np.stack(planes, -1))


@methods
def test_luma_alone_leaves_the_average_of_the_colours(method):
    """The result less the average of the sources is the same in all channels, where nothing is clipped."""
    a, b = (100 + random_image((40, 31), True, np.uint8, seed) // 8 for seed in (0, 1))
    change = method.fuse(a, b, colour="luma") - (a / 2 + b / 2)
    assert np.abs(change).max() > 2
    assert np.ptp(change, axis=-1).max() <= 1
    assert difference(method.fuse(a, a, colour="luma"), a) == 0


@methods
def test_16_bits_are_the_same_scale(method):
    """A level of 8 bits is 257 of 16."""
    a, b = random_image((40, 31)), random_image((40, 31), seed=1)
    fused = method.fuse(a.astype(np.uint16) * 257, b.astype(np.uint16) * 257)
    assert np.abs(fused / 257 - method.fuse(a, b)).max() <= 0.51


@methods
def test_detail_is_taken_from_the_sharp_source(method):
    """Texture of which each source shows a half comes back, but at the seam (RP: its bright part)."""
    i, j = np.indices((96, 96))
    texture = (120 + 40 * np.sin(i / 1.5) * np.sin(j / 1.3)).astype(np.uint8)
    flat = np.full_like(texture, 120)
    a, b = np.where(j < 48, texture, flat), np.where(j < 48, flat, texture)
    error = np.abs(method.fuse(a, b).astype(float) - texture)
    error[:, 32:64] = 0
    if method is rp:
        error[texture < 120] = 0
    assert error.mean() < 2
    assert error.max() < 20


@methods
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": 0}, "levels=0: "),
        ({"rule": "largest"}, "unknown rule 'largest': max_abs, area_max, energy or match"),
        ({"window": 4}, "window=4"),
        ({"window": 10**10 + 1}, "window=10000000001"),
        ({"base": "c"}, "unknown base 'c': average, a or b"),
        ({"colour": "hsv"}, "unknown colour 'hsv': channels or luma"),
    ],
)
def test_options_out_of_range_are_refused(method, options, message):
    image = random_image((20, 20))
    with pytest.raises(ValueError, match=re.escape(message)):
        method.fuse(image, image, **options)


@methods
def test_images_that_cannot_be_fused_are_refused(method):
    image = random_image((20, 20))
    for a, b, message in (
        (image[:1], image[:1], "20x1 pixels"),
        (image[:, :1], image[:, :1], "1x20 pixels"),
        (image, image[:-1], "images differ"),
        (image, image.astype(np.uint16), "images differ"),
        (image / 255, image / 255, "float64"),
        (np.zeros((20, 20, 4), np.uint8),) * 2 + ("(20, 20, 4)",),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            method.fuse(a, b)
