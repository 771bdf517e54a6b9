"""stack/choice.py: which frame of a stack is sharp."""

import weakref

import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import levels, select, strips, white_bar
from two_stream_fusion.base import tiles
from two_stream_fusion.stack import choice
from two_stream_fusion.stack.choice import select_frames


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(60, 160), (60, 160, 3)])
def test_the_sharp_frame_is_taken(shape, dtype):
    _, frames, strip = strips(shape, dtype)
    before = [x.copy() for x in frames]
    chosen = select(frames)
    assert chosen.shape == shape[:2] and chosen.dtype == np.uint16
    middle = (np.arange(160) % 40 >= 12) & (np.arange(160) % 40 < 28)
    np.testing.assert_array_equal(chosen[:, middle], np.broadcast_to(strip[middle], (60, middle.sum())))
    assert all(np.array_equal(x, y) for x, y in zip(frames, before))


def test_tiles_do_not_show(monkeypatch):
    _, frames, _ = strips((60, 160, 3))
    chosen = select(frames)
    monkeypatch.setattr(tiles, "TILE", 40)
    np.testing.assert_array_equal(select(frames), chosen)


def test_plain_places_go_by_their_outlines():
    """Inside the bar the fused image is wrong by many levels, and the choice is not."""
    chosen = select_frames(*white_bar())
    assert (chosen[60:100, 20:140] == 2).all()


def test_of_equal_frames_the_first_is_chosen():
    _, (frame, *_), _ = strips((30, 40, 3))
    assert not select([frame] * 3).any()


def test_frames_are_asked_for_once():
    _, frames, _ = strips((30, 80))
    read = []
    select_frames((read.append(i) or frame for i, frame in enumerate(frames)), frames[0])
    assert read == [0, 1, 2, 3]


def test_one_frame_is_held_at_a_time():
    _, frames, _ = strips((30, 80), count=8)
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

    select_frames(read(), frames[0])
    assert most <= 2 and not held  # one, and the one that comes


def test_frames_that_differ_are_refused():
    with pytest.raises(ValueError, match="differ"):
        select_frames([np.zeros((9, 9), np.uint8)] * 2, np.zeros((9, 8), np.uint8))


@pytest.mark.parametrize("count", [3, 8])
def test_the_order_from_either_end_gives_the_same_frames(count):
    _, frames, _ = strips((60, 160), count=count)
    chosen, reverse = select(frames), select(frames[::-1])
    assert (chosen == count - 1 - reverse).mean() > 0.99


def test_noise_does_not_speckle_the_choice():
    """A plain wall between two textured strips: noise of 4 levels decides nothing in it."""
    rng = np.random.default_rng(3)
    _, frames, strip = strips((80, 160), count=2)
    for frame in frames:
        frame[30:50] = 120
    noisy = [levels(frame + rng.normal(0, 4, frame.shape)) for frame in frames]
    chosen = select(noisy)
    assert (chosen == np.broadcast_to(strip, (80, 160)))[:, abs(np.arange(160) - 80) > 16].mean() > 0.97


def test_dark_and_12_bit_frames_are_chosen_alike():
    """What counts is detail against the frames' own noise; `Frames.spread` uses all bits of the type."""
    _, frames, _ = strips((60, 160), np.uint16)
    eight = [(frame >> 8).astype(np.uint8) for frame in frames]
    twelve = [(frame >> 4) << 4 for frame in frames]
    assert (select(eight) == select(twelve)).mean() > 0.995


def test_golden_wins_near_the_level_of_noise():
    nearest, distance = np.float32([0.5, 4, 1, 100, 3]), np.float32([0.5, 0, 3, 1, 0])
    assert choice._wins(nearest, distance, np.float32(1)) == pytest.approx(
        [0, 0.512, -0.256, 0.952, 0.422], abs=1e-3
    )
    assert choice._wins(nearest, distance, np.float32(20)) == pytest.approx(
        [0, 0.0046, -0.0023, 0.570, 0.0022], abs=1e-3
    )


def test_golden_choice():
    """With a BOUNDARY_COST of 0.7 and 1.4 the number is 5605 and 5621, with a FLOOR of 4 it is 5639."""
    i, j = np.indices((96, 128))
    pattern = 4.0 * (-1.0) ** (i + j) * (1.5 * np.sin(i / 9) * np.cos(j / 13) + 1)
    frames = [levels(120 + pattern * sharp) for sharp in (j < 70, (j >= 60) & (i % 40 > 12))]
    assert int(select_frames(frames, levels(120 + pattern)).sum()) == pytest.approx(5613, abs=3)
