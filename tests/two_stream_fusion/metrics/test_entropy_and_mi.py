"""IE and MI, worked out by hand."""

import math

import numpy as np
import pytest

from two_stream_fusion.metrics import METRICS, VARIANTS

IE, MI = METRICS["IE"], METRICS["MI"]


def image(*levels, rows=4):
    return np.tile(np.array(levels, np.uint8), (rows, 1))


def test_entropy_by_hand():
    flat = image(7, 7, 7, 7)
    assert IE(flat, flat, flat) == 0
    assert IE(flat, flat, image(0, 85, 170, 255)) == 2
    # probabilities 1/2, 1/4, 1/8, 1/8
    fused = image(9, 9, 9, 9, 200, 200, 0, 255)
    assert IE(fused, fused, fused) == 1.75
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert IE(every, every, every) == 8


def test_two_level_images_stay_uint8():
    fused = image(0, 255)
    assert IE(fused, fused, fused) == 1
    assert MI(fused, fused, fused) == 2


def test_mutual_information_by_hand():
    # A holds four levels (2 bits), F tells two of them apart (1 bit, all shared); B is independent of F.
    a, fused = image(0, 1, 2, 3), image(0, 0, 9, 9)
    b = np.array([[0], [0], [5], [5]], np.uint8) + np.zeros_like(a)
    assert MI(a, b, fused) == pytest.approx(2 * (1 / (2 + 1) + 0 / (1 + 1)), abs=1e-15)
    assert VARIANTS["MI_bits"](a, b, fused) == 1
    assert VARIANTS["MI_nats"](a, b, fused) == pytest.approx(math.log(2), abs=1e-15)
    assert MI(a, a, a) == 2
    assert MI(a, a, a, a) == 3  # three sources, three terms


def test_one_constant_image_shares_nothing_two_are_undefined():
    flat, varied = image(7, 7), image(0, 1)
    assert MI(flat, varied, varied) == 1
    assert MI(varied, varied, flat) == 0
    assert math.isnan(MI(flat, varied, flat))
    assert VARIANTS["MI_bits"](flat, flat, flat) == 0


def test_relabelling_levels_leaves_mutual_information(triple):
    a, b, fused = triple
    relabel = np.random.default_rng(1).permutation(256).astype(np.uint8)
    assert MI(relabel[a], b, relabel[fused]) == pytest.approx(MI(a, b, fused), abs=1e-12)


def test_sixteen_bits_are_rounded_to_256_bins():
    # 128 / 257 rounds to 0, 129 / 257 to 1
    fused = np.tile(np.array([0, 128, 129, 65535], np.uint16), (4, 1))
    assert IE(fused, fused, fused) == 1.5


def test_counts_beyond_float32():
    """cv2 counts in float32; more than 2**24 equal pixels must not be lost."""
    fused = np.zeros((4100, 4100), np.uint8)
    fused[0, 0] = 1
    p = 1 / fused.size
    expected = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
    assert IE(fused, fused, fused) == pytest.approx(expected, rel=1e-12)
