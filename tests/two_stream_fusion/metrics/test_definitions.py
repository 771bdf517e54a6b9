"""Qabf, Q, Qw, Qe and the variants against slow arithmetic, hand calculation and the public toolboxes."""

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest

from tests.two_stream_fusion.metrics import plain_metrics, slow_metrics
from two_stream_fusion import metrics
from two_stream_fusion.metrics import METRICS, VARIANTS

RNG = np.random.default_rng(7)


def noise(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def cases():
    """Names and triples: the ordinary, and where a definition has to say what 0/0 is."""
    x = noise(12, 15)
    one_off = x.copy()
    one_off[6, 7] ^= 1
    flat = np.full((10, 12), 90, np.uint8)
    spot = flat.copy()
    spot[4, 5] = 91
    checker = (np.indices((12, 12)).sum(0) % 2 * 255).astype(np.uint8)
    ramp = np.tile(np.arange(0, 60, 4, dtype=np.uint8), (20, 1))
    half = np.concatenate([np.zeros((10, 12), np.uint8), noise(6, 12)])
    other = np.concatenate([np.zeros((10, 12), np.uint8), noise(6, 12)])
    return {
        "16x16": (noise(16, 16), noise(16, 16), noise(16, 16)),
        "8x8": (noise(8, 8), noise(8, 8), noise(8, 8)),
        "identical": (x, x, x),
        "F = A": (x, noise(12, 15), x),
        "one pixel": (x, x, one_off),
        "0 and 255": tuple((noise(11, 13) > 127).astype(np.uint8) * 255 for _ in range(3)),
        "constant": (flat, flat, flat),
        "constants": (flat, flat + 5, flat + 40),
        "black": (flat * 0, flat * 0, flat * 0),
        "nearly constant": (spot, flat, spot[::-1].copy()),
        "constant source": (flat, noise(10, 12), noise(10, 12)),
        "checkerboard": (checker, 255 - checker, checker),
        "half black": (half, other, np.maximum(half, other)),
        "ramp": (ramp, ramp, ramp),  # edges flat but not zero
        "part ramp": (ramp, np.concatenate([ramp[:12], noise(8, 15)]), ramp // 2),
        "three sources": (noise(10, 11), noise(10, 11), noise(10, 11), noise(10, 11)),
        "three flat sources": (flat, flat, flat, spot),
    }


@pytest.mark.parametrize(("name", "images"), cases().items())
def test_slow_exact_arithmetic(name, images):
    assert METRICS["Qabf"](*images) == pytest.approx(slow_metrics.qabf(*images), abs=1e-13)
    expected = slow_metrics.piella(*images)
    assert [METRICS[key](*images) for key in ("Q", "Qw", "Qe")] == pytest.approx(expected, abs=1e-12)


def test_slow_exact_arithmetic_16_bits():
    images = [RNG.integers(0, 65536, (10, 12), dtype=np.uint16) for _ in range(3)]
    for image in images:
        image[:9, :9] = 0  # the weight of a flat window is in 8-bit levels too
    expected = slow_metrics.piella(*images, levels=65535)
    assert [METRICS[key](*images) for key in ("Q", "Qw", "Qe")] == pytest.approx(expected, abs=1e-12)


def test_plain_numpy(triple):
    expected = plain_metrics.all_six(*triple)
    assert metrics.evaluate(*triple) == pytest.approx(expected, abs=1e-12)


def test_identical_images_by_hand():
    x = noise(20, 30)
    highest = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4))
    assert highest == pytest.approx(0.9747936250, abs=1e-10)
    assert METRICS["Qabf"](x, x, x) == pytest.approx(highest, abs=1e-14)
    for key in ("Q", "Qw", "Qe"):
        assert METRICS[key](x, x, x) == pytest.approx(1, abs=1e-12)


def test_q_of_one_window_by_hand():
    # A: half 0, half 2, so mean 1, variance 1; F = 2 A: mean 2, variance 4, covariance 2; B flat: no weight
    a = np.repeat(np.array([0, 2], np.uint8), 4) + np.zeros((8, 1), np.uint8)
    b = np.full((8, 8), 100, np.uint8)
    expected = (2 * 1 * 2) / (1 + 4) * (2 * 2) / (1 + 4)
    assert METRICS["Q"](a, b, 2 * a) == pytest.approx(expected, abs=1e-6)  # C is 6.5e-8
    assert METRICS["Qw"](a, b, 2 * a) == METRICS["Q"](a, b, 2 * a)


# What the toolboxes of 2019 and 2012 and Hong's Qabf.m give for conftest.pictures(), under GNU Octave 7.3.0.
TOOLBOXES = {
    "MI": 1.0856276907324547,
    "MI_bits": 7.9645680216034176,
    "Qabf": 0.6657131407446697,
    "Q": 0.85232996621497881,
    "Qw": 0.80429885276743507,
    "Qe": 0.48432885660311187,
    "Qe_edge": 0.60217524236996112,
    "Qabf_2012": 0.78116519649936722,
    "Q_gaussian": 0.84924738508789988,
    "Qw_gaussian": 0.76945355843609242,
    "Qe_gaussian": 0.43172079623336984,
    "Qabf_hong": 0.665742419801862,
}


@pytest.mark.parametrize("name", TOOLBOXES)
def test_toolboxes(triple, name):
    metric = {**METRICS, **VARIANTS}[name]
    assert metric(*triple) == pytest.approx(TOOLBOXES[name], abs=1e-12)


def test_toolboxes_on_photographs():
    if not os.environ.get("FUSION_DATA"):
        pytest.skip("FUSION_DATA does not name the folder with the evaluation pairs")
    from eval import calibrate

    with open(Path(metrics.__file__).parents[2] / "eval" / "toolbox_values.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["pair"] == "clock"]
    assert len(rows) > 30
    a, b = (calibrate.images.read(path) for path in calibrate.fetch.pair_files("clock"))
    for row in rows:
        value = metrics.REGISTRY[row["name"]].function(a, b, calibrate.RULES[row["fused"]](a, b))
        if row["name"] == "Qc_2012":  # flat windows
            assert math.isnan(float(row["value"])) and 0 < value < 1
        else:
            assert value == pytest.approx(float(row["value"]), abs=1e-9, nan_ok=True), row


def test_hong_differs_where_strengths_are_equal():
    # Equal gradients count with G = g_F, far up the sigmoid, not with G = 1.
    x = noise(20, 20)
    highest = 0.9994 * 0.9879 / (1 + math.exp(-4.4))
    assert VARIANTS["Qabf_hong"](x, x, x) == pytest.approx(highest, abs=1e-4)
    assert VARIANTS["Qabf_hong"](x, x, x) > METRICS["Qabf"](x, x, x) + 1e-4
    assert math.isnan(VARIANTS["Qabf_hong"](x * 0, x * 0, x * 0))
