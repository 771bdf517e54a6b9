"""SRCNN: from planes to a fused image; the net itself has golden numbers (tests/golden)."""

import cv2
import numpy as np
import pytest

from two_stream_fusion.methods import models, srcnn


def test_without_the_nets_an_image_comes_back():
    image = np.random.default_rng(0).integers(0, 256, (45, 71, 3), dtype=np.uint8)
    assert np.array_equal(srcnn.fuse(image, image, scale=1, levels=3), image)


def test_what_the_nets_are_given_is_the_interpolated_image():
    """Through planes, interpolation and the inverse at the raised size, the nets adding nothing."""
    image = np.random.default_rng(1).random((64, 96))
    planes = np.stack([srcnn.interpolate(plane) for plane in srcnn.uwt.transform(image)])
    back = srcnn.uwt.inverse(planes, srcnn.SCALE)
    np.testing.assert_allclose(back[40:-40, 40:-40], srcnn.interpolate(image)[40:-40, 40:-40], atol=1e-12)


@pytest.mark.parametrize("scale", [1, 2])
def test_parts_make_the_whole(scale, monkeypatch):
    a, b = np.random.default_rng(2).integers(0, 256, (2, 45, 31), dtype=np.uint8)
    untiled = srcnn.fuse(a, b, scale=scale)
    monkeypatch.setattr(srcnn, "TILE", 24)
    assert np.abs(srcnn.fuse(a, b, scale=scale).astype(int) - untiled).max() <= (scale > 1)


@pytest.mark.parametrize(
    "wavelet, tile", [pytest.param("db38", 350, marks=pytest.mark.slow), ("db12", 128), ("bior2.2", 64)]
)
def test_parts_make_the_whole_with_long_filters(wavelet, tile, monkeypatch):
    rows = 700 if wavelet == "db38" else 300  # more than the margins of two parts
    a, b = np.random.default_rng(2).integers(0, 256, (2, rows, 30), dtype=np.uint8)
    untiled = srcnn.fuse(a, b, scale=1, wavelet=wavelet)
    monkeypatch.setattr(srcnn, "TILE", tile)
    assert np.array_equal(srcnn.fuse(a, b, scale=1, wavelet=wavelet), untiled)


def test_an_image_fused_with_itself_stays_near(rendered_pair):
    _, _, sharp = rendered_pair
    sharp = sharp[270:370, 340:460]
    fused = srcnn.fuse(sharp, sharp)
    assert cv2.PSNR(fused, sharp) > 33
    assert np.abs(fused.mean((0, 1)) - sharp.mean((0, 1))).max() < 0.5


def test_the_nets_raise_better_than_interpolation_does(rendered_pair):
    """A photograph downsampled by 2 and upsampled, one that was not trained on."""
    _, _, sharp = rendered_pair
    sharp = sharp[96:352, 200:520].astype(np.float64) @ [0.299, 0.587, 0.114]
    half = cv2.resize(sharp, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    raised = srcnn.uwt.inverse(srcnn.RaisingNets()(srcnn.uwt.transform(half)), srcnn.SCALE)
    errors = [np.mean((x - sharp)[40:-40, 40:-40] ** 2) for x in (raised, srcnn.interpolate(half))]
    assert errors[0] < 0.85 * errors[1]


@pytest.mark.parametrize(
    "bad", [{"scale": 3}, {"levels": 0}, {"rule": "none"}, {"window": 2}, {"wavelet": "no"}]
)
def test_options_out_of_range_are_named(bad):
    image = np.zeros((20, 20), np.uint8)
    with pytest.raises(ValueError, match=next(iter(bad))):
        srcnn.fuse(image, image, **{"scale": 1, **bad})


def test_without_weights_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "data_folder", lambda: tmp_path)
    image = np.zeros((20, 20), np.uint8)
    with pytest.raises(ValueError, match="no model 'srcnn"):
        srcnn.fuse(image, image)
