"""stack/screening.py: frames that do not belong to their stack."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from tests.two_stream_fusion.stack.scenes import levels, photograph, slope, strips
from two_stream_fusion import pipeline
from two_stream_fusion.stack.frames import images_in_folder
from two_stream_fusion.stack.screening import (
    compare_pair,
    directional_detail,
    find_misfits,
    find_motion_blur,
    small_gray,
)


def stack(count=5):
    return [levels(frame) for frame in slope(photograph()[::2, ::2], count)]


def misfits(frames, *arguments):
    return find_misfits([small_gray(frame) for frame in frames], *arguments)


FAULTS = {
    "black": (lambda frame: frame * 0, "times as bright as the others"),
    "dark": (lambda frame: levels(frame * 0.35), "times as bright as the others"),
    "white": (lambda frame: frame * 0 + 255, "times as bright as the others"),
    "blurred": (lambda frame: cv2.GaussianBlur(frame, (0, 0), 8), "blurred throughout"),
    "other": (
        lambda frame: cv2.resize(skimage.data.coffee()[::-1], frame.shape[1::-1]),
        "of another scene",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_a_bad_frame_is_found_and_why(fault, place):
    frames = stack()
    spoil, why = FAULTS[fault]
    frames[place] = spoil(frames[place])
    (misfit,) = misfits(frames)
    assert misfit.frame == place and misfit.reason.endswith(why)


def test_two_bad_frames_of_five_are_found():
    frames = stack()
    frames[1], frames[3] = frames[1] * 0, FAULTS["other"][0](frames[3])
    assert [misfit.frame for misfit in misfits(frames)] == [1, 3]


@pytest.mark.parametrize("count", [3, 4, 9])
def test_frames_of_a_stack_belong(count):
    frames = stack(count)
    assert misfits(frames) == []
    assert misfits([np.roll(frame, 5 * (i % 2), axis=1) for i, frame in enumerate(frames)]) == []  # shaken
    assert misfits([levels(frame * (1 + 0.2 * (i % 2))) for i, frame in enumerate(frames)]) == []  # flickers
    assert misfits([frame.astype(np.uint16) * 257 for frame in frames]) == []
    assert misfits(strips((60, 160, 3), count=count)[1]) == []


def test_what_has_no_majority_is_left_alone():
    frames = stack(4)
    assert misfits([frames[0], frames[1], frames[2] * 0, frames[3] * 0]) == []
    assert misfits([frames[0], frames[1] * 0]) == []
    noise = [np.random.default_rng(i).integers(0, 255, (45, 61, 3), np.uint8) for i in range(5)]
    assert misfits(noise) == [] and misfits([np.full((9, 9), 7, np.uint8)] * 3) == []


def test_neighbours_are_those_of_the_order_of_focus():
    asked = []
    frames = stack()
    frames[2] = frames[2] * 0
    misfits(frames, lambda places: asked.append(places) or places)
    assert asked == [[0, 1, 3, 4]]


def test_of_a_pair_the_difference_is_said():
    first, second = stack(2)
    assert compare_pair(small_gray(first), small_gray(second)) is None
    assert "times as bright" in compare_pair(small_gray(first), small_gray(second * 0))
    soft = cv2.GaussianBlur(first, (0, 0), 6)
    assert compare_pair(small_gray(first), small_gray(soft)) == "blurred throughout"
    assert compare_pair(small_gray(soft), small_gray(first)) == "sharper throughout"


def moved(frame, length, angle):
    """A frame blurred by a motion of `length` pixels, `angle` degrees from the rows."""
    kernel = np.zeros((61, 61), np.float32)
    end = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) * length / 2
    for step in np.linspace(-1, 1, 60):
        x, y = np.rint(30 + step * end).astype(int)
        kernel[y, x] += 1
    return cv2.filter2D(frame, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def motion_misfits(frames, sort=list):
    return find_motion_blur([directional_detail(frame) for frame in frames], range(len(frames)), sort)


@pytest.mark.parametrize("angle", [0, 30, 70, 135])
def test_a_frame_blurred_by_motion_is_found(angle):
    frames = [levels(frame) for frame in slope(photograph()[::2, ::2], 7, 3.0)]
    assert motion_misfits(frames) == []
    frames[2] = moved(frames[2], 13, angle)
    assert motion_misfits(frames) == [(2, "blurred by motion")]


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


STACKS = ["algae", "damselfly", "fly", "gun", "houses", "pcb", "pcb-depthmap", "ring", "text", "tie"]


@pytest.mark.slow
@pytest.mark.parametrize("name", STACKS)
def test_no_real_frame_is_left_out(name):
    folder = Path(os.environ.get("FUSION_DATA", "nowhere"), "stacks", name)
    if not folder.is_dir():
        pytest.skip("needs FUSION_DATA with stacks")
    paths = [path for path in images_in_folder(folder) if path.stem != "expected"]
    assert pipeline.align_frames(paths, None).left_out == ()
