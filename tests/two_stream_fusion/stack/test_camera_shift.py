"""stack/camera_shift.py: how far the camera moved between frames, whatever their focus."""

import cv2
import numpy as np

from tests.two_stream_fusion.stack.scenes import levels, photograph, slope
from two_stream_fusion.stack.camera_shift import estimate_shifts, is_shaken
from two_stream_fusion.stack.screening import small_gray


def shaken(shifts, size=(200, 240)):
    """A stack whose frame i shows the scene `shifts[i]` pixels (x, y) farther right and down."""
    photo = cv2.resize(photograph(), (280, 240))
    return [
        levels(frame)[20 - y : 20 - y + size[0], 20 - x : 20 - x + size[1]]
        for frame, (x, y) in zip(slope(photo, len(shifts)), shifts)
    ]


def test_shifts_are_found_whatever_the_focus():
    true = np.array([[0, 0], [6, -2], [-5, 4], [3, 7], [-7, -6]])
    estimates = estimate_shifts([small_gray(frame) for frame in shaken(true)]) * 240
    np.testing.assert_allclose(estimates, true - np.median(true, axis=0), atol=0.3)
    assert is_shaken(estimates / 240)


def test_a_stack_in_register_is_not_shaken():
    estimates = estimate_shifts([small_gray(frame) for frame in shaken([(0, 0)] * 4)])
    assert np.abs(estimates).max() < 0.001 and not is_shaken(estimates)


def test_what_cannot_be_matched_stays():
    noise = [np.random.default_rng(i).uniform(0, 255, (60, 80)).astype(np.float32) for i in range(4)]
    assert not estimate_shifts(noise).any()
    assert not estimate_shifts([np.full((60, 80), 7, np.float32)] * 3).any()
    assert not estimate_shifts([np.zeros((3, 2), np.float32)] * 3).any()
