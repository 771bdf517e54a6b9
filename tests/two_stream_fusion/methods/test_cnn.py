"""CNN: from scores to a fused image; the net itself has golden numbers (tests/golden)."""

import numpy as np
import pytest
from scipy import ndimage

from two_stream_fusion.methods import cnn, models, registry


def fuse(*images, **options):
    return registry.fuse("cnn", images, **options).image


def test_scores_of_parts_are_those_of_the_whole():
    a, b = np.random.default_rng(0).random((2, 75, 102))
    untiled = cnn.scores(a, b, tile=1000)
    assert untiled.shape == (75 // 2 + 1 - 7, 102 // 2 - 7)
    # The scores of noise are sums of 32768 products that nearly cancel: float32 leaves three digits.
    np.testing.assert_allclose(cnn.scores(a, b, tile=22), untiled, rtol=0, atol=2e-3)


def test_a_score_is_that_of_its_patch_inside_the_photograph():
    """But for the border of the patch, where the net alone sees zeros and the photograph goes on."""
    rng = np.random.default_rng(1)
    sharp = rng.random((16, 16))
    blurred = ndimage.gaussian_filter(sharp, 2)
    assert cnn.scores(sharp, blurred).item() > 0.9 and cnn.scores(blurred, sharp).item() < 0.1


def test_the_focus_map_is_the_mean_over_patches_around_a_pixel():
    scores = np.random.default_rng(2).random((5, 4)).astype(np.float32)
    size = (2 * 5 + 14 - 1, 2 * 4 + 14)  # odd and even
    total, count = np.zeros(size), np.zeros(size)
    for (i, j), score in np.ndenumerate(scores):
        total[2 * i : 2 * i + 16, 2 * j : 2 * j + 16] += score
        count[2 * i : 2 * i + 16, 2 * j : 2 * j + 16] += 1
    assert count.min() > 0
    np.testing.assert_allclose(cnn.mean_scores(scores, size), total / count, rtol=0, atol=1e-12)


def test_small_regions_of_either_kind_are_turned_over():
    decision = np.zeros((30, 30), bool)
    decision[2:4, 2:4] = 1  # 4 pixels
    decision[10:25, 10:25] = 1
    decision[15:17, 15:17] = 0
    decision[25, 25] = 1  # hangs on by its corner
    want = np.zeros_like(decision)
    want[10:25, 10:25] = want[25, 25] = 1
    assert np.array_equal(cnn.flip_small_regions(decision, 5), want)
    assert np.array_equal(cnn.flip_small_regions(decision, 4), decision)


def test_maps_and_the_image_they_make(rendered_pair):
    near, far, _ = (image[100:260, 200:420] for image in rendered_pair)
    maps = cnn.decide(near, far)
    assert all(m.shape == (160, 220) and m.min() >= 0 and m.max() <= 1 for m in maps.values())
    assert set(np.unique(maps["decision"])) <= {0.0, 1.0} and 0.05 < maps["decision"].mean() < 0.95
    weight = maps["weight"][..., None]
    np.testing.assert_array_equal(fuse(near, far), np.floor(weight * near + (1 - weight) * far + 0.5))


def test_better_than_either_photograph(rendered_pair):
    near, far, sharp = (image[:250, 200:500] for image in rendered_pair)
    error = [np.mean((x.astype(float) - sharp) ** 2) for x in (fuse(near, far), near, far)]
    assert error[0] < 0.5 * min(error[1:])


@pytest.mark.parametrize("bad", [{"area": 0.5}, {"area": -1}, {"radius": 0}, {"eps": 0}])
def test_options_out_of_range_are_named(bad):
    image = np.zeros((20, 20), np.uint8)
    with pytest.raises(ValueError, match=next(iter(bad))):
        fuse(image, image, **bad)


def test_without_weights_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "data_folder", lambda: tmp_path)
    image = np.zeros((20, 20), np.uint8)
    with pytest.raises(ValueError, match="no model 'cnn'"):
        fuse(image, image)
