"""stack/order.py: the frames of a stack in the order of their focus."""

import cv2
import numpy as np
import pytest

from tests.two_stream_fusion.stack.scenes import levels, photograph, receding, slope, strips
from two_stream_fusion.stack import camera_shift, order
from two_stream_fusion.stack.screening import small_gray


def focus_order(frames):
    """The order of whole frames."""
    frames = list(map(order.downscale_frame, frames))
    shifts = camera_shift.estimate_shifts(list(map(small_gray, frames)))
    return order.order_by_details(list(map(order.detail_map, frames)), shifts)


@pytest.mark.parametrize("count", [3, 5, 12])
def test_the_order_of_focus_is_found(count):
    frames = receding(count)
    assert focus_order(frames) == list(range(count))
    assert focus_order(frames[::-1]) == list(range(count))  # from either end
    for seed in range(5):
        shuffled = [int(i) for i in np.random.default_rng(seed).permutation(count)]
        order = [shuffled[i] for i in focus_order([frames[i] for i in shuffled])]
        assert order in ([*range(count)], [*range(count)][::-1])


def test_frames_are_looked_at_in_small():
    assert order._fit_within((3000, 2000, 3), 600) == (400, 600)
    assert order._fit_within((200, 5000), 500) == (500, 20)
    assert order._fit_within((300, 200), 600) == (200, 300)
    assert order._fit_within((1, 5000), 500) == (500, 1)


def test_an_order_without_a_shorter_path_is_kept():
    """Frames alike in all but noise have no order of their own."""
    truth, frames, _ = strips((60, 160))
    assert focus_order(frames) == [0, 1, 2, 3]
    assert focus_order([truth, truth, truth]) == [0, 1, 2]
    assert focus_order([frames[0], frames[1]]) == [0, 1]


@pytest.mark.parametrize(("detour", "expected"), [(0.08, [0, 1, 2, 3]), (0.12, [0, 2, 1, 3])])
def test_golden_detour_that_keeps_the_given_order(monkeypatch, detour, expected):
    """Four places on a line: the given path is 1 + detour / 10 times as long as the shortest."""
    monkeypatch.setattr(order, "detail_grid", lambda place: np.full((24, 24), place))
    assert order.order_by_details([0, 10, 10 - detour, 20]) == expected


@pytest.mark.parametrize(("count", "starts"), [(45, 45), (50, 50), (51, 26), (60, 30)])
def test_at_most_fifty_paths_are_tried(monkeypatch, count, starts):
    tried = []
    monkeypatch.setattr(
        order, "_nearest_neighbour_path", lambda distances, start: tried.append(start) or list(range(count))
    )
    order._sort(np.ones((count, count)))
    assert len(tried) == starts


@pytest.mark.parametrize(("farthest", "expected"), [(1.13, [0, 1, 2]), (1.19, [1, 0, 2])])
def test_golden_distance_up_to_which_frames_are_alike(farthest, expected):
    """Neighbours are 1 apart; the frame given first is between the others. The bound is at 1.15."""
    assert order._sort(np.array([[0, 1, 1], [1, 0, farthest], [1, farthest, 0]])) == expected


@pytest.mark.parametrize("share", [0.005, 0.01, 0.02, 0.03])
def test_the_order_of_a_shaken_stack_is_found(share):
    """Each frame is shifted by up to a share of the width in either direction."""
    width, margin = 300, 20
    photo = cv2.resize(photograph(), (width + 2 * margin, 260))
    rng = np.random.default_rng(int(share * 1000))
    shifts = np.rint(rng.uniform(-share, share, (7, 2)) * width).astype(int)
    frames = [
        levels(frame)[margin + y : y - margin, margin + x : x - margin]
        for frame, (x, y) in zip(slope(photo, 7, 3.0), shifts)
    ]
    shuffled = [int(i) for i in rng.permutation(7)]
    order = [shuffled[i] for i in focus_order([frames[i] for i in shuffled])]
    assert order in ([*range(7)], [*range(7)][::-1])
