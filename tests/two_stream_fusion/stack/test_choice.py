"""stack/choice.py: which frame of a stack is sharp."""

import weakref

import cv2
import numpy as np
import pytest

from two_stream_fusion.base import tiles
from two_stream_fusion.stack import choice as stack


def sharper(a, b, **_):
    """A net that knows: of the two, the one with more detail around, pixel by pixel; noise of its own."""
    sharpness = [
        cv2.GaussianBlur(cv2.Laplacian(x.astype(np.float32), -1) ** 2, (0, 0), 3).reshape(*x.shape[:2], -1)
        for x in (a, b)
    ]
    first = sharpness[0].mean(2) >= sharpness[1].mean(2)
    return np.where(first if a.ndim == 2 else first[..., None], a, b)


def scene(shape, dtype=np.uint8, count=4):
    """A photograph, frames each sharp in an upright strip of its own, and the strip of each column."""
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    truth = rng.integers(0, top, shape, dtype, endpoint=True)
    strip = np.arange(shape[1]) * count // shape[1]
    frames = []
    for i in range(count):
        frame = cv2.GaussianBlur(truth, (0, 0), 3)
        frame[:, strip == i] = truth[:, strip == i]
        frames.append(frame)
    return truth, frames, strip


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(60, 160), (60, 160, 3)])
def test_the_sharp_frame_is_taken(shape, dtype):
    truth, frames, strip = scene(shape, dtype)
    before = [x.copy() for x in frames]
    choice = stack.choose(sharper, frames)
    assert choice.shape == shape[:2] and choice.dtype == np.uint16
    middle = (np.arange(160) % 40 >= 12) & (np.arange(160) % 40 < 28)
    np.testing.assert_array_equal(choice[:, middle], np.broadcast_to(strip[middle], (60, middle.sum())))
    fused = stack.put_together(frames, choice)
    assert fused.dtype == dtype
    np.testing.assert_array_equal(fused[:, middle], truth[:, middle])
    assert all(np.array_equal(x, y) for x, y in zip(frames, before))


def receding(count, shape=(240, 320, 3)):
    """Frames of a plane that recedes from left to right, each in focus at one depth."""
    truth = np.random.default_rng(2).integers(0, 255, shape, np.uint8)
    blurred = [cv2.GaussianBlur(truth, (0, 0), 0.3 + 0.6 * i) if i else truth for i in range(count)]
    depth = np.arange(shape[1]) * count // shape[1]
    frames = []
    for i in range(count):
        frame = truth.copy()
        for d in range(count):
            frame[:, depth == d] = blurred[abs(d - i)][:, depth == d]
        frames.append(frame)
    return frames


@pytest.mark.parametrize("count", [3, 5, 12])
def test_the_order_of_focus_is_found(count):
    frames = receding(count)
    assert stack.order(frames) == list(range(count))
    assert stack.order(frames[::-1]) == list(range(count))  # from either end
    for seed in range(5):
        places = [int(i) for i in np.random.default_rng(seed).permutation(count)]
        found = [places[i] for i in stack.order([frames[i] for i in places])]
        assert found in ([*range(count)], [*range(count)][::-1])


def test_frames_are_looked_at_in_small():
    assert stack._within((3000, 2000, 3), 600) == (400, 600)
    assert stack._within((200, 5000), 500) == (500, 20)
    assert stack._within((300, 200), 600) == (200, 300)
    assert stack._within((1, 5000), 500) == (500, 1)


def test_an_order_that_will_do_is_kept():
    """Frames alike in all but noise have no order of their own."""
    truth, frames, _ = scene((60, 160))
    assert stack.order(frames) == [0, 1, 2, 3]
    assert stack.order([truth, truth, truth]) == [0, 1, 2]
    assert stack.order([frames[0], frames[1]]) == [0, 1]


def test_tiles_do_not_show(monkeypatch):
    _, frames, _ = scene((60, 160, 3))
    choice = stack.choose(sharper, frames)
    monkeypatch.setattr(tiles, "TILE", 40)
    np.testing.assert_array_equal(stack.choose(sharper, frames), choice)


def test_plain_places_go_by_their_outlines():
    """A white bar: inside it frames differ in shade alone, and the net takes slopes for sharpness."""
    sharp = np.full((200, 200), 40, np.uint8)
    sharp[60:100, 20:180] = 230
    frames = [cv2.GaussianBlur(sharp, (0, 0), sigma) for sigma in (20, 8)]
    frames = [*frames, sharp, *frames[::-1]]
    bar = slice(66, 94), slice(26, 174)
    choice = stack.choose(sharper, frames)
    assert (choice[60:100, 20:180] == 2).all()
    assert np.abs(stack.put_together(frames, choice)[bar].astype(int) - 230).max() <= 1


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
    choice = stack.choose(sharper, frames)
    assert set(np.unique(choice)) == {0, 1}
    fused = stack.put_together(frames, choice)
    above = cv2.GaussianBlur(fused[: height // 2].astype(np.float32), (0, 0), 3)
    assert np.abs(np.diff(above, axis=1)).max() < 2 and np.abs(np.diff(above, axis=0)).max() < 2
    below = slice(-height // 4, None)
    quarter = width // 4
    np.testing.assert_array_equal(fused[below, :quarter], frames[0][below, :quarter])
    np.testing.assert_array_equal(fused[below, -quarter:], frames[1][below, -quarter:])


def test_equal_frames_come_back_and_the_first_is_chosen():
    _, (frame, *_), _ = scene((30, 40, 3))
    choice = stack.choose(sharper, [frame] * 3)
    assert not choice.any()
    np.testing.assert_array_equal(stack.put_together([frame] * 3, choice), frame)


def test_frames_are_asked_for_once():
    _, frames, _ = scene((30, 80))
    read = []
    choice = stack.choose(sharper, (read.append(i) or frame for i, frame in enumerate(frames)))
    stack.put_together((read.append(i) or frame for i, frame in enumerate(frames)), choice)
    assert read == [0, 1, 2, 3] * 2


def test_two_frames_are_held_at_a_time():
    _, frames, _ = scene((30, 80), count=8)
    held, most = set(), 0

    def read():
        nonlocal most
        for i in range(len(frames)):
            frame = frames[i].copy()
            held.add(i)
            weakref.finalize(frame, held.discard, i)
            most = max(most, len(held))
            yield frame
            del frame

    choice = stack.choose(sharper, read())
    assert most <= 3  # two, and the one that comes
    most = 0
    stack.put_together(read(), choice)
    assert most <= 2 and not held  # one, and the one that comes


def test_frames_that_differ_are_refused():
    with pytest.raises(ValueError, match="differ"):
        stack.choose(sharper, [np.zeros((9, 9), np.uint8), np.zeros((9, 8), np.uint8)])
