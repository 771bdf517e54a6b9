"""DWT: its filters, its recipe written out plainly, its alignments."""

import re

import numpy as np
import pytest
import pywt

from two_stream_fusion.methods import coefficients, dwt


def random_images(size, seed=0):
    return np.random.default_rng(seed).integers(0, 65535, (2, *size), np.uint16, endpoint=True)


def test_the_filters_are_the_2_2_spline_pair():
    wavelet = pywt.Wavelet("bior2.2")
    low, high = (np.trim_zeros(np.array(f)) * 4 * np.sqrt(2) for f in (wavelet.dec_lo, wavelet.dec_hi))
    np.testing.assert_allclose(low, [-1, 2, 6, 2, -1], atol=1e-12)
    np.testing.assert_allclose(np.abs(high), [2, 4, 2], atol=1e-12)


def plain(a, b, wavelet, levels, mode):
    """The recipe on float planes, by PyWavelets' own transform of many levels."""
    ca, cb = (pywt.wavedec2(v, wavelet, mode, levels) for v in (a, b))
    details = [
        tuple(coefficients.select_coefficients(x, y, "area_max", 3) for x, y in zip(p, q))
        for p, q in zip(ca[1:], cb[1:])
    ]
    return pywt.waverec2([(ca[0] + cb[0]) / 2, *details], wavelet, mode)[: a.shape[0], : a.shape[1]]


@pytest.mark.parametrize(
    ("options", "mode"),
    [({}, "symmetric"), ({"mode": "reflect"}, "reflect"), ({"mode": "periodization"}, "periodization")],
)
@pytest.mark.parametrize("wavelet", ["bior2.2", "db1"])
def test_the_recipe_written_out(wavelet, options, mode):
    a, b = random_images((41, 54))
    expected = np.clip(plain(a / 257, b / 257, wavelet, 3, mode) * 257, 0, 65535)
    fused = dwt.fuse(a, b, wavelet=wavelet, levels=3, **options)
    assert np.abs(fused - expected).max() < 0.51


def test_the_reference_alignment_written_out():
    """45 samples and more on every side, to a multiple of 16, and the periodic transform."""
    a, b = random_images((50, 67))
    padding = [(45, next(e for e in range(45, 61) if (45 + n + e) % 16 == 0)) for n in a.shape]
    planes = (np.pad(v / 257, padding, mode="reflect") for v in (a, b))
    expected = np.clip(plain(*planes, "bior2.2", 4, "periodization")[45:95, 45:112] * 257, 0, 65535)
    assert np.abs(dwt.fuse(a, b, align="reference") - expected).max() < 0.51
    assert np.abs(dwt.fuse(a, b) - expected).max() > 257


@pytest.mark.parametrize("size", [(2, 2), (3, 90), (131, 77)])
@pytest.mark.parametrize("options", [{"align": "reference"}, {"mode": "periodization"}, {"wavelet": "db4"}])
def test_an_image_fused_with_itself_is_itself(size, options):
    a, _ = random_images(size)
    np.testing.assert_allclose(dwt.fuse(a, a, **options), a, atol=1)


def test_haar_by_hand():
    """One level of Haar on one block: averages 10 and 20 give 15, and a's gradient of 8 is the larger."""
    a = np.array([[6, 14], [6, 14]], np.uint8)
    b = np.array([[19, 21], [19, 21]], np.uint8)
    fused = dwt.fuse(a, b, wavelet="db1", levels=1, rule="max_abs")
    assert fused.tolist() == [[11, 19], [11, 19]]
    assert dwt.fuse(a, b, wavelet="db1", levels=1, base="b").tolist() == [[16, 24], [16, 24]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wavelet": "bior"}, "unknown wavelet 'bior'"),
        ({"wavelet": "gaus1"}, "unknown wavelet 'gaus1'"),
        ({"mode": "mirror"}, "unknown mode 'mirror'"),
        ({"align": "left"}, "unknown align 'left': plain or reference"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    a, b = random_images((20, 20))
    with pytest.raises(ValueError, match=re.escape(message)):
        dwt.fuse(a, b, **options)
