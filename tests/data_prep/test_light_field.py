import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep import fetch, light_field


def smooth(height=60, width=70, seed=1):
    small = np.random.default_rng(seed).integers(0, 256, (9, 10, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def views_of(photograph, disparity, side=3):
    """Views of a plane at whole pixels of disparity; what a shift brings in is black."""
    views = []
    for down in range(-(side // 2), side // 2 + 1):
        for right in range(-(side // 2), side // 2 + 1):
            shift = np.float32([[1, 0, -disparity * right], [0, 1, -disparity * down]])
            views.append(cv2.warpAffine(photograph, shift, photograph.shape[1::-1], flags=cv2.INTER_NEAREST))
    return views


@pytest.mark.parametrize("disparity", [-2, 0, 1])
def test_a_plane_is_sharp_at_its_disparity_alone(disparity):
    photograph = smooth()
    views = views_of(photograph, disparity)
    inside = np.s_[6:-6, 6:-6]
    np.testing.assert_array_equal(light_field.refocus(views, disparity)[inside], photograph[inside])
    assert (light_field.refocus(views, disparity + 3)[inside] != photograph[inside]).mean() > 0.5


def test_the_mean_of_two_shifted_views_by_hand():
    """A bright pixel in the middle, of nine equal views, at a disparity of one: a square of ninths."""
    view = np.zeros((9, 9, 3), np.uint8)
    view[4, 4] = 90
    expected = np.zeros_like(view)
    expected[3:6, 3:6] = 10
    np.testing.assert_array_equal(light_field.refocus([view] * 9, 1), expected)


def test_the_ground_truth_is_the_view_in_the_middle():
    views = [smooth(seed=i) for i in range(9)]
    frames, truth = light_field.focus_stack(views)
    np.testing.assert_array_equal(truth, views[4][12:-12, 12:-12])
    assert len(frames) == 9 and {frame.shape for frame in frames} == {(36, 46, 3)}


def test_all_views_are_registered_in_the_order_of_rows():
    names = [Path(name).name for name in fetch.list_files("lytro-2067")]
    assert names == [f"2067_{row:02d}_{column:02d}.png" for row in range(1, 10) for column in range(1, 10)]


@pytest.mark.slow
def test_the_frames_are_those_of_the_experiment():
    """Needs the views, fetched or in FUSION_DATA, and the frames in FUSION_DATA."""
    folder = Path(os.environ.get("FUSION_DATA", ""), "stacks-truth", "lytro-2067")
    if not folder.is_dir():
        pytest.skip("FUSION_DATA has no stacks-truth/lytro-2067")
    try:
        frames, truth = light_field.focus_stack(light_field.read_views())
    except OSError as error:
        pytest.skip(str(error))
    for name, image in zip([*(f"{i:02d}" for i in range(9)), "truth"], [*frames, truth]):
        np.testing.assert_array_equal(cv2.imread(str(folder / f"{name}.png"))[..., ::-1], image)
