"""stack/frame_selection.py: which frame of a stack is sharp."""

import weakref

import cv2
import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import sharper, strips
from two_stream_fusion.base import tiles
from two_stream_fusion.stack import frame_selection, noise
from two_stream_fusion.stack.frame_selection import select_frames


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(60, 160), (60, 160, 3)])
def test_the_sharp_frame_is_taken(shape, dtype):
    _, frames, strip = strips(shape, dtype)
    before = [x.copy() for x in frames]
    choice = select_frames(sharper, frames)
    assert choice.shape == shape[:2] and choice.dtype == np.uint16
    middle = (np.arange(160) % 40 >= 12) & (np.arange(160) % 40 < 28)
    np.testing.assert_array_equal(choice[:, middle], np.broadcast_to(strip[middle], (60, middle.sum())))
    assert all(np.array_equal(x, y) for x, y in zip(frames, before))


def test_tiles_do_not_show(monkeypatch):
    _, frames, _ = strips((60, 160, 3))
    choice = select_frames(sharper, frames)
    monkeypatch.setattr(tiles, "TILE", 40)
    np.testing.assert_array_equal(select_frames(sharper, frames), choice)


def test_plain_places_go_by_their_outlines():
    """A white bar: inside it frames differ in shade alone, and the net takes slopes for sharpness."""
    sharp = np.full((200, 200), 40, np.uint8)
    sharp[60:100, 20:180] = 230
    frames = [cv2.GaussianBlur(sharp, (0, 0), sigma) for sigma in (20, 8)]
    frames = [*frames, sharp, *frames[::-1]]
    choice = select_frames(sharper, frames)
    assert (choice[60:100, 20:180] == 2).all()


def test_of_equal_frames_the_first_is_chosen():
    _, (frame, *_), _ = strips((30, 40, 3))
    assert not select_frames(sharper, [frame] * 3).any()


def test_frames_are_asked_for_once():
    _, frames, _ = strips((30, 80))
    read = []
    select_frames(sharper, (read.append(i) or frame for i, frame in enumerate(frames)))
    assert read == [0, 1, 2, 3]


def test_two_frames_are_held_at_a_time():
    _, frames, _ = strips((30, 80), count=8)
    alive, most = set(), 0

    def read():
        nonlocal most
        for i in range(len(frames)):
            frame = frames[i].copy()
            alive.add(i)
            weakref.finalize(frame, alive.discard, i)
            most = max(most, len(alive))
            yield frame
            del frame

    select_frames(sharper, read())
    assert most <= 3 and not alive  # two, and the one that comes


def test_frames_that_differ_are_refused():
    with pytest.raises(ValueError, match="differ"):
        select_frames(sharper, [np.zeros((9, 9), np.uint8), np.zeros((9, 8), np.uint8)])


def test_golden_wins_near_the_level_of_noise():
    """The noise decides them: with 18 and 22 in place of 20 the mean is -0.408 and -0.346."""
    i, j = np.indices((96, 80))
    a = ((i * j) // 8 + (j * j) // 11) % 200 + 20
    b = a + (i * 7 + j * 13) % 25 - 12
    a, b = a.astype(np.uint8), b.astype(np.uint8)
    assert frame_selection._wins(a, b, a, 20).mean() == pytest.approx(-0.3753, abs=0.002)
    assert frame_selection._wins(b, a, a, 20).mean() == pytest.approx(0.3753, abs=0.002)


def test_details_as_small_as_noise_hardly_count(monkeypatch):
    """What counts as noise is FLOOR and the variances of both frames."""
    noises = []
    wins = frame_selection._wins
    monkeypatch.setattr(frame_selection, "_wins", lambda *a, noise: noises.append(noise) or wins(*a, noise))
    rng = np.random.default_rng(3)
    frames = [np.clip(128 + rng.normal(0, s, (96, 120)), 0, 255).astype(np.uint8) for s in (0, 3, 6)]
    select_frames(sharper, frames)
    variances = [noise.measure_noise(frame).sigma ** 2 for frame in frames]
    assert variances[0] < 1e-6 and variances[2] > 3 * variances[1] > 18
    assert noises == pytest.approx([16 + variances[1], 16 + variances[1] + variances[2]])


def test_regions_of_ten_pixels_stay_in_200_000(monkeypatch):
    mask = np.zeros((400, 500), bool)
    for column, pixels in ((10, 9), (30, 10)):
        mask[10 : 10 + pixels, column] = True
    monkeypatch.setattr(frame_selection.potts, "binary_potts", lambda cost: mask)
    frames = [np.zeros((400, 500), np.uint8)] * 2
    choice = select_frames(lambda a, b, progress: a, frames)
    assert not choice[:, 10].any() and choice[:, 30].sum() == 10
