"""stack/blend.py: frames joined as a choice among them says."""

import weakref

import cv2
import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import sharper, strips
from two_stream_fusion.stack.blend import blend_frames
from two_stream_fusion.stack.frame_selection import select_frames


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(60, 160), (60, 160, 3)])
def test_each_pixel_comes_from_the_chosen_frame(shape, dtype):
    truth, frames, _ = strips(shape, dtype)
    before = [x.copy() for x in frames]
    fused = blend_frames(frames, select_frames(sharper, frames))
    middle = (np.arange(160) % 40 >= 12) & (np.arange(160) % 40 < 28)
    assert fused.dtype == dtype
    np.testing.assert_array_equal(fused[:, middle], truth[:, middle])
    assert all(np.array_equal(x, y) for x, y in zip(frames, before))


def test_plain_places_keep_their_level():
    """A white bar: inside it frames differ in shade alone."""
    sharp = np.full((200, 200), 40, np.uint8)
    sharp[60:100, 20:180] = 230
    frames = [cv2.GaussianBlur(sharp, (0, 0), sigma) for sigma in (20, 8)]
    frames = [*frames, sharp, *frames[::-1]]
    bar = slice(66, 94), slice(26, 174)
    fused = blend_frames(frames, select_frames(sharper, frames))
    assert np.abs(fused[bar].astype(int) - 230).max() <= 1


@pytest.mark.parametrize("factor", [1, 4])
def test_backgrounds_of_another_brightness_join_without_a_line(factor):
    """Above, out of focus, frames differ by 30 levels; below, each is sharp in a half of its own."""
    height, width = 300 * factor, 400 * factor
    rng = np.random.default_rng(1)
    shade = np.linspace(60, 120, width) + np.zeros((height, 1))
    texture = rng.integers(0, 255, (height // 3, width)).astype(np.float64)
    frames = []
    for i in range(2):
        frame = shade + 30 * i + rng.normal(0, 1, shade.shape)
        blurred = cv2.GaussianBlur(texture, (0, 0), 3)
        half = (np.arange(width) < width // 2) == (i == 0)
        frame[-len(texture) :] = np.where(half, texture, blurred)
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    choice = select_frames(sharper, frames)
    assert set(np.unique(choice)) == {0, 1}
    fused = blend_frames(frames, choice)
    above = cv2.GaussianBlur(fused[: height // 2].astype(np.float32), (0, 0), 3)
    assert np.abs(np.diff(above, axis=1)).max() < 2 and np.abs(np.diff(above, axis=0)).max() < 2
    below = slice(-height // 4, None)
    quarter = width // 4
    np.testing.assert_array_equal(fused[below, :quarter], frames[0][below, :quarter])
    np.testing.assert_array_equal(fused[below, -quarter:], frames[1][below, -quarter:])


def test_equal_frames_come_back():
    _, (frame, *_), _ = strips((30, 40, 3))
    choice = np.indices((30, 40)).sum(axis=0) % 3
    np.testing.assert_array_equal(blend_frames([frame] * 3, choice), frame)


def test_frames_are_asked_for_once_and_one_is_held():
    _, frames, strip = strips((30, 80), count=8)
    choice = np.broadcast_to(strip, (30, 80))
    read, alive, most = [], set(), 0

    def read_all():
        nonlocal most
        for i in range(len(frames)):
            frame = frames[i].copy()
            read.append(i)
            alive.add(i)
            weakref.finalize(frame, alive.discard, i)
            most = max(most, len(alive))
            yield frame
            del frame

    blend_frames(read_all(), choice)
    assert read == list(range(8)) and most <= 2 and not alive  # one, and the one that comes


def test_golden_seams():
    """Frames that differ in light (a step of 60) and in detail (a pattern of 40): how both go over a seam."""
    i, j = np.indices((60, 120))
    choice = (j >= 60).astype(np.uint16)
    texture = (i * j) // 8 % 100
    light = blend_frames([(texture + 60 * k).astype(np.uint8) for k in (0, 1)], choice) - texture
    assert light[0, [40, 50, 57, 59, 60, 62, 70, 80]] == pytest.approx([0, 0, 13, 27, 34, 46, 60, 60], abs=1)
    pattern = 40 * (-1) ** (i + j)
    detail = blend_frames([np.full((60, 120), 100, np.uint8), (100 + pattern).astype(np.uint8)], choice)
    shares = ((detail.astype(float) - 100) * np.sign(pattern))[20:40].mean(axis=0)
    assert shares[57:63] == pytest.approx([0, 0, 4, 36, 40, 40], abs=0.6)
