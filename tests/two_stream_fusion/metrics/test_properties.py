"""What holds for every metric: symmetry, ranges, depth, colour, tiles, and falling with blur and noise."""

import math
import re
import tracemalloc
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from two_stream_fusion import metrics
from two_stream_fusion.metrics import METRICS, REGISTRY, piella, preprocess, xydeas

ALL = {name: metric.function for name, metric in REGISTRY.items()}
# test_further_metrics.py tests the symmetry of slow ones and of those that need 41 pixels. VIFF has none.
ELSEWHERE = {"VIF", "VIFF", "MEF_MS_SSIM", "Qp", "FMI", "FMI_pixel", "FMI_dct"}
FALLING = ("Qabf", "Q", "Qw", "Qe")


def photograph(height=128, width=160):
    rng = np.random.default_rng(3)
    fine = cv2.GaussianBlur(rng.integers(0, 256, (height, width), dtype=np.uint8), (0, 0), 1.2)
    coarse = cv2.GaussianBlur(rng.integers(0, 256, (height, width), dtype=np.uint8), (0, 0), 8)
    return cv2.normalize(fine.astype(float) + 4.0 * coarse, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def sources(sharp):
    blurred, half = cv2.GaussianBlur(sharp, (0, 0), 2.5), sharp.shape[1] // 2
    return (
        np.concatenate([sharp[:, :half], blurred[:, half:]], 1),
        np.concatenate([blurred[:, :half], sharp[:, half:]], 1),
    )


@st.composite
def triples(draw):
    """Small images of few or many levels, some of them flat or equal."""
    shape = draw(st.integers(11, 24)), draw(st.integers(11, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    levels = draw(st.sampled_from([1, 2, 3, 256]))
    step = draw(st.sampled_from([1, 127])) if levels < 4 else 1
    images = [(rng.integers(0, levels, shape) * step).astype(np.uint8) for _ in range(3)]
    if draw(st.booleans()):
        images[2] = images[0]
    return images


@settings(max_examples=40, deadline=None)
@given(triples())
def test_ranges_and_symmetry(images):
    a, b, fused = images
    scores = metrics.evaluate(a, b, fused)
    assert 0 <= scores["IE"] <= 8
    assert math.isnan(scores["MI"]) or 0 <= scores["MI"] <= 2 + 1e-12
    assert 0 <= scores["Qabf"] <= 0.97479362502
    for name in ("Q", "Qw", "Qe"):
        assert -1 - 1e-9 <= scores[name] <= 1 + 1e-9
    for name, metric in ALL.items():
        if name not in ELSEWHERE and name != "Qc_2012":  # which is not symmetric
            expected = pytest.approx(metric(a, b, fused), rel=1e-12, abs=1e-12, nan_ok=True)
            assert metric(b, a, fused) == expected, name


@settings(max_examples=20, deadline=None)
@given(triples())
def test_evaluate_gives_every_metric(images):
    one_by_one = {name: metric(*images) for name, metric in METRICS.items()}
    assert metrics.evaluate(*images) == pytest.approx(one_by_one, abs=1e-15, nan_ok=True)


@pytest.mark.parametrize("name", ALL)
def test_sixteen_bits_scaled_are_eight_bits(triple, name):
    wide = [image.astype(np.uint16) * 257 for image in triple]
    assert ALL[name](*wide) == ALL[name](*triple)
    colour = [np.dstack([image, image[::-1], image[:, ::-1]]) for image in triple]
    assert ALL[name](*(image.astype(np.uint16) * 257 for image in colour)) == ALL[name](*colour)


@pytest.mark.parametrize("name", ALL)
def test_sixteen_bits_and_eight_have_one_scale(triple, name, monkeypatch):
    monkeypatch.setattr(preprocess, "_is_scaled_up", lambda image: False)
    wide = [image.astype(np.uint16) * 257 for image in triple]
    assert preprocess.prepare(*wide)[1].dtype == np.uint16
    assert ALL[name](*wide) == pytest.approx(ALL[name](*triple), rel=1e-12, abs=1e-12)


def test_colour_is_scored_on_rounded_luma():
    rng = np.random.default_rng(5)
    for dtype in (np.uint8, np.uint16):
        rgb = rng.integers(0, np.iinfo(dtype).max, (40, 50, 3), dtype, endpoint=True)
        rgb[0, 0] = np.iinfo(dtype).max
        weights = [Fraction(w, 10**6) for w in (298936, 587043, 114021)]
        luma = [
            [math.floor(sum(int(v) * w for v, w in zip(pixel, weights)) + Fraction(1, 2)) for pixel in row]
            for row in rgb
        ]
        _, gray = preprocess.prepare(rgb, rgb, rgb)
        assert gray.dtype == dtype
        np.testing.assert_array_equal(gray, luma)
    assert metrics.evaluate(rgb, rgb[::-1], rgb[:, ::-1]) == metrics.evaluate(gray, gray[::-1], gray[:, ::-1])


@pytest.mark.parametrize("tile", [(8, 16), (1000, 1000)])
def test_tiles_do_not_show(triple, monkeypatch, tile):
    expected = {name: metric(*triple) for name, metric in ALL.items()}
    maps = xydeas.maps(*triple), piella.quality_map(*triple)
    monkeypatch.setattr(preprocess, "_TILE", tile)
    assert {name: metric(*triple) for name, metric in ALL.items()} == pytest.approx(
        expected, abs=1e-12, nan_ok=True
    )
    np.testing.assert_allclose(xydeas.maps(*triple), maps[0], atol=1e-5)
    np.testing.assert_allclose(piella.quality_map(*triple), maps[1], atol=1e-5)


def test_memory_is_that_of_tiles():
    images = [np.random.default_rng(i).integers(0, 256, (1200, 1500), dtype=np.uint8) for i in range(3)]
    tracemalloc.start()
    metrics.evaluate(*images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6 * 2**20  # one float64 copy of one image is 14 MB


def test_blurring_the_result_lowers_its_scores():
    sharp = photograph()
    # short of the sources' own blur of 2.5, where the result would resemble one of them again
    steps = [sharp] + [cv2.GaussianBlur(sharp, (0, 0), s) for s in (0.6, 0.9, 1.2, 1.5, 1.8)]
    scores = [metrics.evaluate(*sources(sharp), fused) for fused in steps]
    for name in FALLING:
        values = [score[name] for score in scores]
        assert values == sorted(values, reverse=True), name
        assert values[0] > values[-1] + 0.1, name


def test_noise_lowers_all_but_the_entropy():
    sharp = photograph()
    grain = np.random.default_rng(9).normal(size=sharp.shape)
    steps = [np.clip(np.rint(sharp + s * grain), 0, 255).astype(np.uint8) for s in (0, 2, 5, 10, 20, 40)]
    scores = [metrics.evaluate(*sources(sharp), fused) for fused in steps]
    for name in ("MI", *FALLING):
        values = [score[name] for score in scores]
        assert values == sorted(values, reverse=True), name
        assert values[0] > values[-1] + 0.1, name
    assert scores[-1]["IE"] > scores[0]["IE"]  # it takes noise for information


def test_maps_are_what_the_metrics_average(triple):
    a, b, fused = triple
    assert piella.quality_map(a, b, fused).mean() == pytest.approx(METRICS["Q"](a, b, fused), abs=1e-6)
    quality, loss = xydeas.maps(a, b, fused)
    assert quality.shape == loss.shape == fused.shape
    assert 0 <= quality.min() <= quality.max() < 0.975
    perfect, nothing = xydeas.maps(a, a, a)
    np.testing.assert_allclose(perfect, 0.9747936, atol=1e-6)
    assert not nothing.any()
    # An edge that only B has, and the fused image lacks, is lost where it stands.
    b = a.copy()
    b[40:50, 40:50] ^= 128
    lost = xydeas.maps(a, b, a)[1]
    assert lost[38:52, 38:52].max() > 100
    lost[38:52, 38:52] = 0
    assert not lost.any()


EIGHT, SIXTEEN = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint16)
NAN = np.full((20, 20), np.nan)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ((EIGHT, EIGHT / 255, EIGHT), ["B is (20, 20) float64", "F is (20, 20) uint8", "uint8"]),
        (
            (EIGHT, EIGHT, NAN),
            ["F is (20, 20) float64 with values that are not finite", "A is (20, 20) uint8"],
        ),
        ((EIGHT, EIGHT, EIGHT > 0), ["F is (20, 20) bool", "A is (20, 20) uint8"]),
        ((EIGHT, EIGHT[1:], EIGHT), ["B is (19, 20) uint8", "F is (20, 20) uint8", "size"]),
        ((EIGHT, EIGHT, EIGHT / 255), ["F is (20, 20) float64", "convert it first"]),
        ((EIGHT, SIXTEEN, EIGHT), ["B is (20, 20) uint16", "F is (20, 20) uint8", "depth"]),
        (
            (EIGHT, EIGHT, np.dstack([EIGHT, EIGHT, EIGHT + 1])),
            ["A is (20, 20) uint8", "F is (20, 20, 3) uint8", "colour"],
        ),
        ((np.dstack([EIGHT] * 4),) * 3, ["A is (20, 20, 4) uint8", "H x W x 3"]),
        ((EIGHT[:0], EIGHT[:0], EIGHT[:0]), ["(0, 20)"]),
        ((EIGHT, EIGHT), ["two or more sources", "2 given"]),
        ((EIGHT, EIGHT, EIGHT[1:], EIGHT), ["C is (19, 20)", "F is (20, 20)"]),
    ],
)
@pytest.mark.parametrize("metric", [*ALL.values(), metrics.evaluate])
def test_bad_input_is_named(metric, images, says):
    with pytest.raises(ValueError) as error:
        metric(*images)
    assert "\n" not in str(error.value)
    for part in says:
        assert part in str(error.value)


def test_images_smaller_than_the_window():
    small = np.zeros((7, 30), np.uint8)
    with pytest.raises(ValueError, match=r"\(7, 30\).*8 x 8"):
        metrics.evaluate(small, small, small)
    assert METRICS["Qabf"](small, small, small) == pytest.approx(0.9747936250, abs=1e-9)


@pytest.mark.parametrize("name", metrics.REGISTRY)
def test_a_metric_by_itself_is_its_function(name):
    """In its value, and in what it refuses; the error names it."""
    for shape in ((5, 6), (48, 50)):
        a, b, fused = (np.random.default_rng(i).integers(0, 256, shape, np.uint8) for i in range(3))
        try:
            expected = metrics.REGISTRY[name].function(a, b, fused)
        except ValueError as error:
            with pytest.raises(ValueError, match=re.escape(f"{name}: {error}")):
                metrics.evaluate(a, b, fused, columns=[name])
        else:
            assert metrics.evaluate(a, b, fused, columns=[name]) == {
                name: pytest.approx(expected, rel=1e-12, nan_ok=True)
            }
