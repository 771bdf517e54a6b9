"""stack/motion_blur.py: frames that a bump of the camera blurred."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import levels, photograph, slope
from two_stream_fusion.io import images
from two_stream_fusion.stack import motion_blur
from two_stream_fusion.stack.frames import images_in_folder
from two_stream_fusion.stack.motion_blur import find_motion_blur, measure_directions, spectral_power


@lru_cache(maxsize=None)
def rendered(count, most):
    return tuple(levels(frame) for frame in slope(photograph()[::2, ::2], count, most))


def stack(count, most):
    return list(rendered(count, most))


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
    frames = stack(7, 3.0)
    assert motion_misfits(frames) == []
    frames[2] = moved(frames[2], 13, angle)
    assert motion_misfits(frames) == [(2, "blurred by motion")]


@pytest.mark.parametrize("place", [0, 6])
@pytest.mark.parametrize("angle", [0, 20, 90, 127])
@pytest.mark.parametrize("length", [8, 15])
def test_the_first_or_last_frame_blurred_by_motion_is_found(place, angle, length):
    """Details get sharper towards either end in one half of the frame, and less sharp in the other."""
    frames = stack(7, 4.0)
    frames[place] = moved(frames[place], length, angle)
    assert motion_misfits(frames) == [(place, "blurred by motion")]


@pytest.mark.parametrize("sigma", [1, 2])
def test_an_end_frame_that_is_sharp_nowhere_is_found(sigma):
    """Its neighbours are sharper everywhere."""
    frames = stack(5, 4.0)
    first = cv2.GaussianBlur(frames[0], (0, 0), sigma)
    assert motion_misfits([first, *frames]) == []
    assert motion_misfits([moved(first, 15, 30), *frames]) == [(0, "blurred by motion")]


@pytest.mark.parametrize("path", ["accelerating", "curved"])
def test_a_bump_need_not_be_even_or_straight(path):
    t = np.linspace(0, 1, 200)
    x, y = (12 * t**2, 0 * t) if path == "accelerating" else (15 * t, 4 * np.sin(np.pi * t))
    kernel = np.zeros((31, 31), np.float32)
    np.add.at(kernel, (np.rint(15 + y).astype(int), np.rint(8 + x).astype(int)), 1 / len(t))
    frames = stack(5, 4.0)
    frames[0] = cv2.filter2D(frames[0], -1, kernel)
    assert motion_misfits(frames) == [(0, "blurred by motion")]


def test_both_ends_blurred_by_motion_are_found():
    frames = stack(7, 4.0)
    frames[0], frames[6] = moved(frames[0], 15, 0), moved(frames[6], 15, 60)
    assert [misfit.frame for misfit in motion_misfits(frames)] == [0, 6]


@pytest.mark.parametrize("count", [3, 4, 9])
@pytest.mark.parametrize("most", [2.0, 6.0])
def test_the_first_or_last_frame_out_of_focus_is_no_motion(count, most):
    assert motion_misfits(stack(count, most)) == []


def noisy(frames):
    rng = np.random.default_rng(0)
    return [levels(frame + rng.normal(0, 4, frame.shape)) for frame in frames]


def compressed(frames):
    return [
        cv2.imdecode(cv2.imencode(".jpg", frame, (cv2.IMWRITE_JPEG_QUALITY, 60))[1], -1) for frame in frames
    ]


def breathing(frames):
    scaled = [cv2.resize(x, None, fx=1 + 0.01 * i, fy=1 + 0.01 * i) for i, x in enumerate(frames)]
    return [x[: frames[0].shape[0], : frames[0].shape[1]] for x in scaled]


def striped(frames):
    """Threads of one direction over the frames, in focus in the last frame."""
    stripes = (40 * np.sin(np.arange(frames[0].shape[1]) * 0.9))[None, :, None] + np.zeros(frames[0].shape)
    blurs = range(len(frames), 0, -1)
    return [levels(x * 0.7 + cv2.GaussianBlur(stripes, (0, 0), 0.4 * k) + 20) for x, k in zip(frames, blurs)]


def with_a_moving_object(frames):
    """Something moved while the first frame was taken, in a ninth of it."""
    first, blurred = frames[0].copy(), moved(frames[0], 15, 0)
    rows, columns = (slice(n // 3, 2 * n // 3) for n in first.shape[:2])
    first[rows, columns] = blurred[rows, columns]
    return [first, *frames[1:]]


CLEAN = (noisy, compressed, breathing, striped, with_a_moving_object)


@pytest.mark.parametrize("change", CLEAN, ids=lambda change: change.__name__)
@pytest.mark.parametrize("count", [3, 6])
def test_what_else_differs_between_frames_is_no_motion(change, count):
    frames = change(stack(count, 4.0))
    assert motion_misfits(frames) == [] and motion_misfits(frames[::-1]) == []


def test_two_frames_blurred_by_motion_are_found():
    frames = stack(9, 3.0)
    frames[3], frames[6] = moved(frames[3], 15, 0), moved(frames[6], 15, 90)
    assert [misfit.frame for misfit in motion_misfits(frames)] == [3, 6]


def test_out_of_focus_is_no_motion():
    frames = stack(7, 3.0)
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


def power(along=1.0, across=1.0, count=10, patches=100):
    """Power of so many patches, and next to none of the others; the motion is along the rows."""
    result = np.full((patches, 4, 12), 1e-6, np.float32)
    result[:count] = 1e6 * across
    result[:count, :, [11, 0, 1]] = 1e6 * along
    return result


@pytest.mark.parametrize(
    ("along", "across", "trend", "is_blurred"),
    [
        (0.05, 0, 0, False),  # of power (logarithm): less along and across; less in the next frame
        (0.07, 0, 0, True),
        (0.3, 0.25, 0, False),
        (0.3, 0.23, 0, True),
        (0.3, 0, 0.07, False),
        (0.3, 0, 0.05, True),
    ],
)
def test_an_end_frame_loses_power_along_a_motion(along, across, trend, is_blurred):
    end = power(np.exp(-along), np.exp(-across))
    next_one, second = power(np.exp(-trend)), power()
    assert (motion_blur._end_score(end, next_one, second) < 0) == is_blurred
    assert motion_blur._end_score(end, end, second) > 0 and motion_blur._end_score(end, second, end) > 0


@pytest.mark.parametrize(("count", "is_blurred"), [(9, False), (10, True)])
def test_power_is_needed_in_ten_patches_of_four_rings(count, is_blurred):
    others = power(count=count)
    assert (motion_blur._end_score(power(0.5, count=count), others, others) < 0) == is_blurred


@pytest.mark.parametrize(("whole", "is_blurred"), [(14, True), (16, False)])
def test_nearly_all_patches_lose_power(whole, is_blurred):
    end = power(0.5, count=100)
    end[:whole] = 1e6
    others = power(count=100)
    assert (motion_blur._end_score(end, others, others) < 0) == is_blurred


@pytest.mark.parametrize(("level", "is_blurred"), [(0.8, False), (1.3, True)])
def test_power_counts_above_that_of_noise(level, is_blurred):
    noise = motion_blur.HAS_POWER * motion_blur.POWER_NOISE
    end, others = (one / 1e6 * level * noise for one in (power(0.1), power()))
    assert (motion_blur._end_score(end, others, others) < 0) == is_blurred


def test_golden_power():
    """White noise has its variance everywhere; a wave has power in its ring and direction."""
    white = np.random.default_rng(0).normal(100, 5, (300, 400)).astype(np.float32)
    np.testing.assert_allclose(spectral_power(white).mean(axis=0), 25, rtol=0.15)
    y, x = np.indices((300, 400))
    for k in range(12):
        angle = k * np.pi / 12
        wave = np.sin(2 * np.pi * 10 / 48 * (x * np.cos(angle) + y * np.sin(angle)))
        mean = spectral_power((100 + 20 * wave).astype(np.float32)).mean(axis=0)
        assert np.unravel_index(mean.argmax(), mean.shape) == (2, k)


def test_frames_smaller_than_a_patch_have_no_power():
    assert spectral_power(np.zeros((47, 100), np.uint8)).shape == (0, 4, 12)
    assert spectral_power(np.zeros((48, 48), np.uint8)).shape == (1, 4, 12)


STACKS = ["algae", "damselfly", "fly", "gun", "houses", "pcb", "pcb-depthmap", "ring", "text", "tie"]


@pytest.mark.slow
@pytest.mark.parametrize("name", STACKS)
def test_an_end_of_a_real_stack_blurred_by_motion_is_found(name):
    folder = Path(os.environ.get("FUSION_DATA", "nowhere"), "stacks", name)
    if not folder.is_dir():
        pytest.skip("needs FUSION_DATA with stacks")
    paths = [path for path in images_in_folder(folder) if path.stem != "expected"]
    frames = [images.read(path) for path in (*paths[:3], *paths[-3:])]
    scale = min(1, 900 / max(frames[0].shape))
    frames = [cv2.resize(x, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for x in frames]
    for three in (frames[:3], frames[:2:-1]):
        assert motion_misfits(three) == []
        for angle in (0, 45, 90):
            blurred = moved(three[0], 0.03 * three[0].shape[1], angle)
            assert motion_misfits([blurred, *three[1:]]) == [(0, "blurred by motion")]
