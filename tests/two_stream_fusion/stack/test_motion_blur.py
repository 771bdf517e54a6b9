"""stack/motion_blur.py: frames that a bump of the camera blurred."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import levels, photograph, slope
from two_stream_fusion.io import images
from two_stream_fusion.stack import motion_blur
from two_stream_fusion.stack.frames import images_in_folder
from two_stream_fusion.stack.motion_blur import find_motion_blur, measure_directions, spectral_power


def moved(frame, length, angle):
    """A frame blurred by a motion of `length` pixels, `angle` degrees from the rows."""
    kernel = np.zeros((61, 61), np.float32)
    end = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) * length / 2
    for step in np.linspace(-1, 1, 60):
        x, y = np.rint(30 + step * end).astype(int)
        kernel[y, x] += 1
    return cv2.filter2D(frame, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def motion_misfits(frames, sort=list):
    return find_motion_blur([measure_directions(frame) for frame in frames], range(len(frames)), sort)


@pytest.mark.parametrize("angle", [0, 30, 70, 135])
def test_a_frame_blurred_by_motion_is_found(angle):
    frames = [levels(frame) for frame in slope(photograph()[::2, ::2], 7, 3.0)]
    assert motion_misfits(frames) == []
    frames[2] = moved(frames[2], 13, angle)
    assert motion_misfits(frames) == [(2, "blurred by motion")]


@pytest.mark.parametrize("place", [0, 6])
@pytest.mark.parametrize("angle", [0, 90])
def test_the_first_or_last_frame_blurred_by_motion_is_found(place, angle):
    frames = [levels(frame) for frame in slope(photograph()[::2, ::2], 7, 4.0)]
    frames[place] = moved(frames[place], 15, angle)
    assert motion_misfits(frames) == [(place, "blurred by motion")]


@pytest.mark.parametrize("count", [3, 4, 9])
@pytest.mark.parametrize("most", [2.0, 6.0])
def test_the_first_or_last_frame_out_of_focus_is_no_motion(count, most):
    assert motion_misfits([levels(x) for x in slope(photograph()[::2, ::2], count, most)]) == []


def test_two_frames_blurred_by_motion_are_found():
    frames = [levels(frame) for frame in slope(photograph()[::2, ::2], 9, 3.0)]
    frames[3], frames[6] = moved(frames[3], 15, 0), moved(frames[6], 15, 90)
    assert [misfit.frame for misfit in motion_misfits(frames)] == [3, 6]


def test_out_of_focus_is_no_motion():
    frames = [levels(frame) for frame in slope(photograph()[::2, ::2], 7, 3.0)]
    far = [levels(cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 2)) for frame in frames]
    assert motion_misfits([*frames[:3], far[3], *frames[4:]]) == []
    assert (
        motion_misfits([frames[i] for i in (0, 6, 1, 5, 2, 4, 3)], lambda places: sorted(places)[::-1]) == []
    )
    assert motion_misfits(frames[:2]) == [] and motion_misfits([np.full((9, 9), 7, np.uint8)] * 4) == []


@pytest.mark.parametrize(
    ("along", "across", "detail", "is_blurred"),
    [
        (0.07, -0.2, 2, False),
        (0.09, -0.2, 2, True),
        (0.3, 0.21, 2, False),
        (0.3, 0.19, 2, True),
        (0.3, 0, 0.9, False),
        (0.3, 0, 1.1, True),
    ],
)
def test_motion_loses_detail_in_one_direction(along, across, detail, is_blurred):
    neighbour = np.full((4, 12, 12), np.log(detail + motion_blur.NOISE))
    frame = neighbour - np.reshape([along, along, across, along], (4, 1, 1))
    assert (motion_blur._middle_score(neighbour, frame, neighbour) < 0) == is_blurred


