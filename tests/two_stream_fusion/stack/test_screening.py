"""stack/screening.py: frames that do not belong to their stack."""

import cv2
import numpy as np
import pytest
import skimage.data

from tests.two_stream_fusion.stack.scenes import levels, photograph, slope, strips
from two_stream_fusion.stack.screening import compare_pair, find_misfits, small_gray


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
    (found,) = misfits(frames)
    assert found.place == place and found.reason.endswith(why)


def test_two_bad_frames_of_five_are_found():
    frames = stack()
    frames[1], frames[3] = frames[1] * 0, FAULTS["other"][0](frames[3])
    assert [misfit.place for misfit in misfits(frames)] == [1, 3]


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
