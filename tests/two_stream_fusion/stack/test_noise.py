"""stack/noise.py: the noise of frames, and which of them are far noisier than others."""

import cv2
import numpy as np
import pytest
from skimage import data

from tests.two_stream_fusion.stack.scenes import levels, photograph, slope
from two_stream_fusion.stack.noise import find_noisy, measure_noise


def noisy(frame, sigma, seed=0):
    return levels(frame + np.random.default_rng(seed).normal(0, sigma, frame.shape))


@pytest.mark.parametrize("sigma", [3, 10, 25])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_noise_is_measured(sigma, dtype):
    plain = noisy(np.full((300, 400), 120.0), sigma)
    frame = plain if dtype == np.uint8 else plain.astype(np.uint16) * 257
    assert measure_noise(frame).sigma == pytest.approx(sigma, rel=0.1)
    assert abs(measure_noise(frame).structure) < 0.1


def test_a_photograph_has_little_noise():
    noise = measure_noise(photograph())
    assert noise.sigma < 2 and noise.detail.max() > 10


@pytest.mark.parametrize(
    "shape", [(9, 9), (9, 500), (500, 9), (23, 24, 3), *((4000, n) for n in range(2, 9)), (3, 4000)]
)
def test_small_frames_are_measured(shape):
    for level in (0, 120, 255):
        assert measure_noise(np.full(shape, level, np.uint8)).sigma < 1e-3


def test_what_is_clipped_says_nothing_of_noise():
    frame = noisy(np.full((300, 400), 120.0), 10)
    frame[:, :300] = 255
    assert measure_noise(frame).sigma == pytest.approx(10, rel=0.15)


def test_noise_of_all_frames_is_none_of_one():
    frames = [levels(frame) for frame in slope(photograph()[::2, ::2], 5, 3.0)]
    assert find_noisy([measure_noise(noisy(x, 15, i)) for i, x in enumerate(frames)]) == {}
    assert find_noisy([measure_noise(x) for x in frames]) == {}


def test_rounding_is_no_noise():
    frames = [levels(frame) for frame in slope(photograph()[::2, ::2], 5, 3.0)]
    noise = [measure_noise(x) for x in frames]
    noise[2] = measure_noise(noisy(frames[2], 12))
    assert list(find_noisy(noise)) == [2] and find_noisy(noise, step=16) == {}


@pytest.mark.parametrize(("sigma", "needed"), [(8, True), (60, False)])
def test_a_noisy_frame_is_needed_while_its_detail_is_stronger(sigma, needed):
    """Of two frames that alone are sharp somewhere."""
    first, second = (levels(frame) for frame in slope(photograph()[::2, ::2], 2, 6.0))
    found = find_noisy([measure_noise(first), measure_noise(noisy(second, sigma))])
    assert found == {1: needed}


@pytest.mark.parametrize("size", [(24, 32), (36, 48), (48, 64), (66, 88)])
def test_detail_of_tiny_frames_is_no_noise(size):
    """So small a frame has no plain block."""
    for name in ("astronaut", "cat", "coffee", "grass"):
        photo = cv2.resize(getattr(data, name)(), size[::-1], interpolation=cv2.INTER_AREA)
        frames = [levels(frame) for frame in slope(photo, 20)]
        assert not find_noisy([measure_noise(frame) for frame in frames])
